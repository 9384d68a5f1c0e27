/** Is a store that was killed what it said it was? Everything acknowledged is there and whole, and nothing else is left. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Content } from '../../kernel/contracts/content.js';
import { Images } from '../../kernel/contracts/images.js';
import { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import type { TestKernel } from '../harness/kernel.js';
import { COMMITS, commitName, type Plan, type PlannedImage, type Presence, SCOPE, SNAPSHOTTER } from './store-plan.js';

async function exists(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

export class StoreCheck {
  readonly #kernel: TestKernel;
  readonly #plan: Plan;

  constructor(kernel: TestKernel, plan: Plan) {
    this.#kernel = kernel;
    this.#plan = plan;
  }

  /** Throws what is wrong. Resolves to what is there now of what the plan knows. */
  async run(): Promise<ReadonlyMap<string, Presence>> {
    const found = new Map<string, Presence>();
    for (const image of this.#plan.images) found.set(image.reference, await this.#image(image));
    for (let index = 0; index < COMMITS; index += 1)
      found.set(commitName(index), await this.#commit(commitName(index)));
    for (const [what, presence] of found) {
      const expected = this.#plan.expected[what] ?? 'absent';
      if (expected !== 'unknown') assert.equal(presence, expected, `${what} was acknowledged to be ${expected}`);
    }
    await this.#nothingElse(found);
    for (const image of this.#plan.images) if (found.get(image.reference) === 'present') await this.#isWhole(image);
    return found;
  }

  async #image({ reference }: PlannedImage): Promise<Presence> {
    return (await exists(this.#kernel.get(Images).get(SCOPE, reference))) ? 'present' : 'absent';
  }

  /** Its blob and its snapshot are two calls; the second one acknowledges both. */
  async #commit(name: string): Promise<Presence> {
    const snapshot = await exists(this.#kernel.get(Snapshots).stat(SCOPE, SNAPSHOTTER, name));
    const blob = await exists(this.#kernel.get(Content).info(SCOPE, digestOf(Buffer.from(name))));
    if (snapshot) assert.ok(blob, `${name}: the snapshot is there, the blob before it is not`);
    return snapshot ? 'present' : 'absent';
  }

  /** As soon as nothing is under way any more, one collection leaves what the records need, and nothing else. */
  async #nothingElse(found: ReadonlyMap<string, Presence>): Promise<void> {
    const { content, snapshots, leases } = {
      content: this.#kernel.get(Content),
      snapshots: this.#kernel.get(Snapshots),
      leases: this.#kernel.get(Leases),
    };
    for (const { id } of await leases.list(SCOPE)) await leases.delete(SCOPE, id);
    // An ingest without a lease is kept for a day, to be resumed.
    for (const { ref } of await content.statuses(SCOPE)) if (ref.startsWith('own-')) await content.abort(SCOPE, ref);
    await this.#dropHalfCommits(found);
    await this.#kernel.get(GarbageCollector).collect();
    const present = this.#plan.images.filter(({ reference }) => found.get(reference) === 'present');
    const own = [...found].filter(([what, presence]) => what.startsWith('own-') && presence === 'present');
    const blobs = [...present.flatMap(({ digests }) => digests), ...own.map(([name]) => digestOf(Buffer.from(name)))];
    const names = [...present.flatMap(({ chain }) => chain), ...own.map(([name]) => name)];
    const recorded = await Array.fromAsync(content.walk(SCOPE));
    assert.deepEqual(recorded.map(({ digest }) => digest).sort(), [...new Set(blobs)].sort(), 'recorded content');
    const kept = await Array.fromAsync(snapshots.walk(SCOPE, SNAPSHOTTER));
    assert.deepEqual(kept.map(({ name }) => name).sort(), [...new Set(names)].sort(), 'recorded snapshots');
    assert.deepEqual(await content.statuses(SCOPE), [], 'ingests');
    await this.#onDisk(new Set(blobs).size, new Set(names).size);
  }

  /** Of an unacknowledged commit or removal, the blob may be there alone; it is a root by its label. */
  async #dropHalfCommits(found: ReadonlyMap<string, Presence>): Promise<void> {
    for (let index = 0; index < COMMITS; index += 1) {
      const name = commitName(index);
      if (found.get(name) === 'present' || (this.#plan.expected[name] ?? 'absent') !== 'unknown') continue;
      await exists(this.#kernel.get(Content).delete(SCOPE, digestOf(Buffer.from(name))));
    }
  }

  async #onDisk(blobs: number, snapshots: number): Promise<void> {
    const root = join(this.#kernel.directory, 'root');
    const content = join(root, 'io.containerd.content.v1.content');
    assert.equal((await readdir(join(content, 'blobs', 'sha256'))).length, blobs, 'blobs on disk');
    assert.deepEqual(await readdir(join(content, 'ingest')), [], 'ingests on disk');
    const directories = await readdir(join(root, 'io.containerd.snapshotter.v1.overlayfs', 'snapshots'));
    assert.equal(directories.length, snapshots, `snapshots on disk: ${directories.join(', ')}`);
    const mounts = (await readFile('/proc/self/mountinfo')).toString();
    assert.ok(!mounts.includes(this.#kernel.directory), 'something is still mounted');
  }

  async #isWhole({ reference, digests, chain, files }: PlannedImage): Promise<void> {
    const content = this.#kernel.get(Content);
    for (const digest of digests) {
      const reader = await content.reader(SCOPE, digest);
      const bytes = Buffer.alloc(reader.size);
      await reader.read(bytes, 0).finally(() => reader.close());
      assert.equal(digestOf(bytes), digest, `content of ${reference}`);
    }
    const snapshots = this.#kernel.get(Snapshots);
    const mounts = await snapshots.view(SCOPE, SNAPSHOTTER, 'look', chain.at(-1) ?? '');
    const lowers = lowersOf(mounts.flatMap(({ options }) => options));
    const names = await Promise.all(lowers.map((lower) => readdir(lower)));
    assert.deepEqual([...new Set(names.flat())].sort(), Object.keys(files).sort(), `files of ${reference}`);
    for (const [path, digest] of Object.entries(files)) {
      const lower = lowers[names.findIndex((layer) => layer.includes(path))] ?? '';
      assert.equal(digestOf(await readFile(join(lower, path))), digest, `file ${path} of ${reference}`);
    }
    await snapshots.remove(SCOPE, SNAPSHOTTER, 'look');
  }
}

/** The directories of an overlay, topmost first: looked at without mounting it, since a kill would leave the mount. */
function lowersOf(options: readonly string[]): readonly string[] {
  const lowers = options.find((option) => option.startsWith('lowerdir='));
  assert.ok(lowers, options.join());
  return lowers.slice('lowerdir='.length).split(':');
}
