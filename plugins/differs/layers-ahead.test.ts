import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import pino from 'pino';
import { Content } from '../../kernel/contracts/content.js';
import { type AppliedLayer, Diff } from '../../kernel/contracts/diff.js';
import type { Descriptor, Labels } from '../../kernel/contracts/scope.js';
import { type Mount, Snapshots } from '../../kernel/contracts/snapshots.js';
import { codeOf } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { withMounts } from '../../lib/linux/mount.js';
import { overlayLowers } from '../../lib/linux/overlay.js';
import { OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { MemoryContent } from '../../test/harness/content.js';
import { eventually } from '../../test/harness/eventually.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { describeTree, type TreeEntry } from '../../test/harness/tree.js';
import { bind, TestDiffer } from '../../test/harness/unpack.js';
import { archive, dir, file, hardlink, opaque, symlink, whiteout } from '../../test/hostile/tar.js';
import type { DetachedApply } from './layer-ahead.js';
import { LayersAhead } from './layers-ahead.js';

const SCOPE = { namespace: 'test' };
const FOREVER = 3_600_000;

const LAYERS = [
  archive(
    ...[dir('etc/', { mode: 0o750, mtime: 1000 }), file('etc/base', 'of the base'), file('etc/both', 'below')],
    ...[dir('old/'), file('old/a', 'a'), file('gone', 'x'), symlink('way', 'etc')],
  ),
  // Implies a directory of the base, deletes, and hides.
  archive(
    file('etc/both', 'above'),
    whiteout('gone'),
    opaque('old'),
    file('old/b', 'b'),
    dir('new/'),
    file('new/c', 'c'),
  ),
  archive(file('etc/third', 'third'), hardlink('etc/third too', 'etc/third'), file('top', 't', { mode: 0o4755 })),
];

const holds = async (what: string, condition: () => boolean): Promise<void> => {
  await eventually(what, () => condition() || undefined);
};

interface Settings {
  readonly layers?: readonly Buffer[];
  readonly most?: number;
  readonly patience?: number;
}

/** A client that has an image in content and unpacks it. */
class Client implements AsyncDisposable {
  readonly content = new MemoryContent();
  readonly ahead: LayersAhead;
  readonly layers: readonly Descriptor[];
  /** Digests of layers that were begun with before their turn. */
  readonly begun: string[] = [];
  /** Digests of layers that were unpacked in their turn. */
  readonly plain: string[] = [];
  readonly #differ = new TestDiffer();
  readonly #scratch: Scratch;

  private constructor(scratch: Scratch, { layers = LAYERS, most = 4, patience = FOREVER }: Settings) {
    this.#scratch = scratch;
    for (const name of ['staging', 'snapshots']) mkdirSync(join(scratch.path, name));
    this.layers = layers.map((bytes) => {
      const blob = gzipSync(bytes);
      return { mediaType: OCI_LAYER_GZIP, digest: this.content.put(blob), size: blob.length };
    });
    const references = this.layers.map(({ digest }, index) => [`containerd.io/gc.ref.content.l.${index}`, digest]);
    const manifest = Buffer.from(JSON.stringify({ layers: this.layers }));
    this.content.put(manifest, Object.fromEntries(references));
    this.ahead = new LayersAhead({
      content: this.content,
      staging: () => [join(scratch.path, 'staging')],
      most,
      patience,
      suits: () => true,
      unpack: (_scope, blob, how) => {
        this.begun.push(blob.digest);
        return this.#unpack(blob, how);
      },
      log: pino({ level: 'silent' }),
    });
  }

  static async start(settings: Settings = {}): Promise<Client> {
    return new Client(await scratch('ahead'), settings);
  }

  get staged(): readonly string[] {
    return readdirSync(join(this.#scratch.path, 'staging'));
  }

  upper(index: number): string {
    return join(this.#scratch.path, 'snapshots', String(index));
  }

  prepare(index: number): Mount[] {
    mkdirSync(this.upper(index));
    if (index === 0) return [bind(this.upper(0))];
    const options = [`upperdir=${this.upper(index)}`, `workdir=${this.upper(index)}-work`, this.#lowers(index)];
    return [{ type: 'overlay', source: 'overlay', target: '', options }];
  }

  /** `until`: in its turn the layer is not unpacked before that holds. */
  async apply(
    index: number,
    mounts: readonly Mount[],
    { until, signal }: { readonly until?: () => boolean; readonly signal?: AbortSignal } = {},
  ): Promise<AppliedLayer> {
    const blob = this.layer(index);
    const how = { mounts, ...(signal === undefined ? {} : { signal }) };
    return this.ahead.apply(SCOPE, blob, how, async () => {
      this.plain.push(blob.digest);
      if (until) await holds('layers are begun with', until);
      return this.#unpack(blob, how);
    });
  }

  layer(index: number): Descriptor {
    const layer = this.layers[index];
    assert.ok(layer);
    return layer;
  }

  /** The base, and everything above is begun with. */
  async applyBase(count = this.layers.length - 1): Promise<void> {
    await this.apply(0, this.prepare(0), { until: () => this.begun.length === count });
  }

  async describe(): Promise<TreeEntry[]> {
    const options = [this.#lowers(this.layers.length)];
    const merged = [{ type: 'overlay', source: 'overlay', target: '', options }];
    const look = (root: string): TreeEntry[] => describeTree(root, { withoutRoot: true });
    return withMounts(merged, look, { directory: this.#scratch.path });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ahead.close();
    assert.deepEqual(this.staged, [], 'nothing is left behind');
    await this.#differ[Symbol.asyncDispose]();
    await this.#scratch[Symbol.asyncDispose]();
  }

  #lowers(count: number): string {
    const lowers = Array.from({ length: count }, (_, index) => this.upper(count - 1 - index));
    return `lowerdir=${overlayLowers(lowers)}`;
  }

  async #unpack({ mediaType, digest }: Descriptor, how: DetachedApply): Promise<AppliedLayer> {
    const sink = await this.#differ.differ.open({ ...how, mediaType, digest });
    try {
      await sink.write(this.content.blobs.get(digest)?.bytes ?? Buffer.alloc(0));
      return await sink.end();
    } finally {
      await sink.abort();
    }
  }
}

const check = (title: string, settings: Settings, body: (client: Client) => Promise<void>): void => {
  it(title, async () => {
    await using client = await Client.start(settings);
    await body(client);
  });
};

/** What the layers make without any of this. */
async function reference(): Promise<TreeEntry[]> {
  await using client = await Client.start({ most: 0 });
  for (const index of LAYERS.keys()) await client.apply(index, client.prepare(index));
  assert.deepEqual([client.begun.length, client.plain.length], [0, 3]);
  return await client.describe();
}

describe('layers unpacked ahead of their turn', () => {
  check('are moved into place, and are what they would have been', {}, async (client) => {
    await client.applyBase();
    for (const index of [1, 2]) {
      const { diffId, size } = await client.apply(index, client.prepare(index));
      assert.deepEqual([diffId, size], [digestOf(LAYERS[index] ?? Buffer.alloc(0)), LAYERS[index]?.length]);
    }
    assert.deepEqual(client.plain, [client.layer(0).digest]);
    assert.deepEqual(await client.describe(), await reference());
    await holds('what was staged is gone', () => client.staged.length === 0);
  });

  check('are so many at most, and the next follow', { most: 1 }, async (client) => {
    await client.applyBase(1);
    assert.deepEqual(client.begun, [client.layer(1).digest]);
    await client.apply(1, client.prepare(1));
    await holds('the next layer is begun with', () => client.begun.length === 2);
    await client.apply(2, client.prepare(2));
    assert.deepEqual(client.plain, [client.layer(0).digest]);
  });

  check('go once nobody applied anything for a while', { patience: 50 }, async (client) => {
    await client.applyBase();
    await holds('what was staged is gone', () => client.staged.length === 0);
    await client.apply(1, client.prepare(1));
    assert.equal(client.plain.length, 2);
  });

  check('are unpacked again where the place has something in it, or is no overlay', {}, async (client) => {
    await client.applyBase();
    const filled = client.prepare(1);
    writeFileSync(join(client.upper(1), 'here'), 'before');
    await client.apply(1, filled);
    client.prepare(2);
    await client.apply(2, [bind(client.upper(2))]);
    assert.equal(client.plain.length, 3);
    assert.equal(readFileSync(join(client.upper(1), 'here'), 'utf8'), 'before');
    for (const [index, name] of ['etc/both', 'top'].entries())
      assert.ok(readFileSync(join(client.upper(index + 1), name)));
  });

  check('do not hide what is wrong with them', { layers: [archive(), Buffer.from('no archive')] }, async (client) => {
    await client.applyBase();
    assert.equal(await client.apply(1, client.prepare(1)).then(() => 'applied', codeOf), 'INVALID_ARGUMENT');
    assert.deepEqual(readdirSync(client.upper(1)), []);
  });

  check(
    'touch nothing outside',
    { layers: [archive(), archive(symlink('up', '..'), file('up/x'))] },
    async (client) => {
      await client.applyBase();
      const before = readdirSync(join(client.upper(0), '..'));
      await client.apply(1, client.prepare(1)).catch(() => undefined);
      assert.deepEqual(readdirSync(join(client.upper(0), '..')), [...before, '1']);
    },
  );

  check('are of one namespace', {}, async (client) => {
    await client.applyBase();
    const other = { namespace: 'other' };
    const unpacked = { diffId: 'plain', size: 0, unresolved: false };
    const mounts = client.prepare(1);
    assert.deepEqual(await client.ahead.apply(other, client.layer(1), { mounts }, async () => unpacked), unpacked);
    assert.deepEqual(readdirSync(client.upper(1)), []);
  });

  check('end with the call that waits for them', {}, async (client) => {
    await client.applyBase();
    const mounts = client.prepare(1);
    const applying = client.apply(1, mounts, { signal: AbortSignal.abort() });
    assert.equal(await applying.then(() => 'applied', codeOf), 'CANCELED');
    assert.deepEqual(readdirSync(client.upper(1)), []);
  });

  it('of a daemon that was killed are cleared away', async () => {
    await using directory = await scratch('ahead');
    const staging = join(directory.path, 'staging');
    mkdirSync(join(staging, '7', 'etc'), { recursive: true });
    const unpack = (): never => assert.fail('nothing is to be unpacked');
    const [content, log] = [new MemoryContent(), pino({ level: 'silent' })];
    const options = { content, log, staging: () => [staging], most: 4, patience: FOREVER, suits: () => true, unpack };
    const ahead = new LayersAhead(options);
    await holds('the leftovers are gone', () => readdirSync(staging).length === 0);
    await ahead.close();
  });

  it('are in the directory of the snapshotter, through a kernel', async () => {
    const plugins = ['content', 'events', 'metadata', 'diff', 'differs', 'snapshot-overlay'];
    await using kernel = await startTestKernel({ plugins });
    const [content, snapshots, diff] = [kernel.get(Content), kernel.get(Snapshots), kernel.get(Diff)];
    const staging = join(kernel.directory, 'root/io.containerd.snapshotter.v1.overlayfs/staging');
    const ROOT = { 'containerd.io/gc.root': 'yes' };
    const put = async (bytes: Buffer, labels: Labels = {}): Promise<Descriptor> => {
      const writer = await content.writer(SCOPE, { ref: digestOf(bytes) });
      await writer.write(bytes);
      const { digest } = await writer.commit({ labels: { ...labels, ...ROOT } });
      return { mediaType: OCI_LAYER_GZIP, digest, size: bytes.length };
    };
    // So long that the next is found meanwhile.
    const base = archive(file('big', Buffer.alloc(64 << 20)), file('etc/base', 'of the base'));
    const layers = [await put(gzipSync(base, { level: 1 })), await put(gzipSync(LAYERS[1] ?? Buffer.alloc(0)))];
    const references = layers.map(({ digest }, index) => [`containerd.io/gc.ref.content.l.${index}`, digest]);
    await put(Buffer.from(JSON.stringify({ layers })), Object.fromEntries(references));
    for (const [index, layer] of layers.entries()) {
      const mounts = await snapshots.prepare(SCOPE, 'overlayfs', `key ${index}`, index === 0 ? '' : 'name 0', ROOT);
      await diff.apply(SCOPE, layer, { mounts });
      await snapshots.commit(SCOPE, 'overlayfs', `name ${index}`, `key ${index}`, { labels: ROOT });
      if (index === 0) assert.equal(readdirSync(staging).length, 1);
    }
    await holds('what was staged is gone', () => readdirSync(staging).length === 0);
    const view = await snapshots.view(SCOPE, 'overlayfs', 'view', 'name 1', ROOT);
    const read = (root: string): string[] =>
      ['etc/base', 'etc/both'].map((name) => readFileSync(join(root, name), 'utf8'));
    assert.deepEqual(await withMounts(view, read), ['of the base', 'above']);
  });
});
