/**
 * Random histories against a model of what refers to what. The seed is printed;
 * KEELSON_TEST_SEED repeats one.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { hasCode } from '../../../kernel/errors.js';
import { digestOf } from '../../../lib/digest.js';
import { bytesOf, container, TestMetadata } from '../../../test/harness/metadata.js';

const STEPS = 5000;
/** Steps between two collections. */
const COLLECT_EVERY = 150;
const NAMESPACES = ['one', 'two'];
const SNAPSHOTTER = 'native';
const BLOBS = Array.from({ length: 24 }, (_, i) => `blob ${i}`);
const DIGESTS = BLOBS.map((text) => digestOf(bytesOf(text)));
const SNAPSHOTS = Array.from({ length: 16 }, (_, i) => `s${i}`);
const NAMES = ['a', 'b', 'c', 'd'];

/** Numbers below `limit`, the same for the same seed (Lehmer's generator). */
function randomNumbers(seed: number): (limit: number) => number {
  let state = (seed % 2147483646) + 1;
  return (limit) => {
    state = (state * 48271) % 2147483647;
    return state % limit;
  };
}

/** Names of nodes: `i/a`, `c/sha256:...`, `s/s3`, `k/a` (container), `l/a` (lease); each with what it refers to. */
type Graph = Map<string, Set<string>>;

function reachable(graph: Graph): Set<string> {
  const isRoot = (name: string): boolean => /^[ikl]\//.test(name) || (graph.get(name)?.has('root') ?? false);
  const pending = [...graph.keys()].filter(isRoot);
  const kept = new Set<string>();
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (kept.has(name)) continue;
    kept.add(name);
    pending.push(...(graph.get(name) ?? []));
  }
  return kept;
}

class History {
  readonly #metadata: TestMetadata;
  readonly #random: (limit: number) => number;
  readonly #graphs = new Map<string, Graph>(NAMESPACES.map((name) => [name, new Map()]));

  constructor(metadata: TestMetadata, seed: number) {
    this.#metadata = metadata;
    this.#random = randomNumbers(seed);
  }

  /** Alone in its step: what the model says must be what there is. */
  async step(): Promise<void> {
    const namespace = this.#pick(NAMESPACES);
    const graph = this.#graphs.get(namespace) ?? new Map();
    await this.#pick([
      () => this.#put(namespace, graph),
      () => this.#put(namespace, graph),
      () => this.#relabel(namespace, graph),
      () => this.#prepare(namespace, graph),
      () => this.#prepare(namespace, graph),
      () => this.#removeSnapshot(namespace, graph),
      () => this.#image(namespace, graph),
      () => this.#container(namespace, graph),
      () => this.#lease(namespace, graph),
      () => this.#hold(namespace, graph),
    ])();
  }

  async collectAndCompare(): Promise<void> {
    await this.#metadata.collector.collect();
    const blobs = new Set<string>();
    const snapshots: string[] = [];
    for (const [namespace, graph] of this.#graphs) {
      const kept = reachable(graph);
      for (const name of [...graph.keys()]) if (!kept.has(name)) graph.delete(name);
      const digests = this.#keys(graph, 'c/');
      const names = this.#keys(graph, 's/');
      assert.deepEqual(await this.#metadata.digests({ namespace }), digests, 'content');
      assert.deepEqual(await this.#metadata.snapshotNames({ namespace }, SNAPSHOTTER), names, 'snapshots');
      for (const digest of digests) blobs.add(digest);
      snapshots.push(...names.map((name) => `${SNAPSHOTTER}:${name}`));
    }
    assert.deepEqual(
      await this.#metadata.onDisk(),
      { blobs: [...blobs].sort(), snapshots: snapshots.sort() },
      'on disk',
    );
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#random(items.length)];
    assert.ok(item !== undefined);
    return item;
  }

  #keys(graph: Graph, prefix: string): string[] {
    const names = [...graph.keys()].filter((name) => name.startsWith(prefix));
    return names.map((name) => name.slice(prefix.length)).sort();
  }

  /** Labels, and what the model must know of them. */
  #labels(): { labels: Record<string, string>; references: Set<string> } {
    const labels: Record<string, string> = {};
    const references = new Set<string>();
    for (let count = this.#random(3); count > 0; count -= 1) {
      const digest = this.#pick(DIGESTS);
      labels[`containerd.io/gc.ref.content.${count}`] = digest;
      references.add(`c/${digest}`);
    }
    if (this.#random(4) === 0) {
      const name = this.#pick(SNAPSHOTS);
      labels[`containerd.io/gc.ref.snapshot.${SNAPSHOTTER}`] = name;
      references.add(`s/${name}`);
    }
    if (this.#random(16) === 0) {
      labels['containerd.io/gc.root'] = '1';
      references.add('root');
    }
    return { labels, references };
  }

  async #put(namespace: string, graph: Graph): Promise<void> {
    const { labels, references } = this.#labels();
    const text = this.#pick(BLOBS);
    const node = `c/${digestOf(bytesOf(text))}`;
    const done = await unlessRefused(this.#metadata.put({ namespace }, text, labels));
    assert.equal(done, !graph.has(node), `put of ${node}`);
    if (done) graph.set(node, references);
  }

  async #relabel(namespace: string, graph: Graph): Promise<void> {
    const { labels, references } = this.#labels();
    const digest = this.#pick(DIGESTS);
    const done = await unlessRefused(this.#metadata.content.update({ namespace }, digest, labels));
    assert.equal(done, graph.has(`c/${digest}`));
    if (done) graph.set(`c/${digest}`, references);
  }

  async #prepare(namespace: string, graph: Graph): Promise<void> {
    const name = this.#pick(SNAPSHOTS);
    const parents = this.#keys(graph, 's/');
    const parent = parents.length > 0 && this.#random(3) > 0 ? this.#pick(parents) : '';
    const done = !graph.has(`s/${name}`);
    const call = this.#metadata.layer({ namespace }, SNAPSHOTTER, name, parent);
    assert.equal(await unlessRefused(call), done, `layer ${name}`);
    if (done) graph.set(`s/${name}`, new Set(parent === '' ? [] : [`s/${parent}`]));
    else await this.#metadata.snapshots.remove({ namespace }, SNAPSHOTTER, `making-${name}`);
  }

  async #removeSnapshot(namespace: string, graph: Graph): Promise<void> {
    const name = this.#pick(SNAPSHOTS);
    const node = `s/${name}`;
    const hasChild = [...graph].some(([key, references]) => key.startsWith('s/') && references.has(node));
    const done = await unlessRefused(this.#metadata.snapshots.remove({ namespace }, SNAPSHOTTER, name));
    assert.equal(done, graph.has(node) && !hasChild, `remove ${name}`);
    if (done) graph.delete(node);
  }

  async #image(namespace: string, graph: Graph): Promise<void> {
    const name = this.#pick(NAMES);
    if (graph.delete(`i/${name}`)) return this.#metadata.images.delete({ namespace }, name);
    const digest = this.#pick(DIGESTS);
    const { labels, references } = this.#labels();
    await this.#metadata.image({ namespace }, name, digest, labels);
    graph.set(`i/${name}`, references.add(`c/${digest}`));
  }

  async #container(namespace: string, graph: Graph): Promise<void> {
    const id = this.#pick(NAMES);
    if (graph.delete(`k/${id}`)) return this.#metadata.containers.delete({ namespace }, id);
    const snapshotKey = this.#pick(SNAPSHOTS);
    await this.#metadata.containers.create({ namespace }, container(id, { snapshotter: SNAPSHOTTER, snapshotKey }));
    graph.set(`k/${id}`, new Set([`s/${snapshotKey}`]));
  }

  async #lease(namespace: string, graph: Graph): Promise<void> {
    const id = this.#pick(NAMES);
    if (graph.delete(`l/${id}`)) return this.#metadata.leases.delete({ namespace }, id);
    await this.#metadata.leases.create({ namespace }, { id });
    graph.set(`l/${id}`, new Set());
  }

  async #hold(namespace: string, graph: Graph): Promise<void> {
    const id = this.#pick(NAMES);
    const held = graph.get(`l/${id}`);
    const [node, resource] =
      this.#random(2) === 0
        ? this.#pick(DIGESTS.map((digest) => [`c/${digest}`, { type: 'content', id: digest }] as const))
        : this.#pick(SNAPSHOTS.map((name) => [`s/${name}`, { type: `snapshots/${SNAPSHOTTER}`, id: name }] as const));
    assert.equal(
      await unlessRefused(this.#metadata.leases.addResource({ namespace }, id, resource)),
      held !== undefined,
    );
    held?.add(node);
  }
}

/** False when the call is refused, as half of the random ones must be. */
async function unlessRefused(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    const expected = ['ALREADY_EXISTS', 'NOT_FOUND', 'FAILED_PRECONDITION'] as const;
    if (expected.some((code) => hasCode(error, code))) return false;
    throw error;
  }
}

it(`keeps what can be reached and nothing else, through ${STEPS} random steps`, async (test) => {
  const seed = Number(process.env.KEELSON_TEST_SEED ?? Date.now() % 1_000_000);
  test.diagnostic(`KEELSON_TEST_SEED=${seed}`);
  await using metadata = await TestMetadata.start();
  const history = new History(metadata, seed);
  for (let step = 0; step < STEPS; step += 1) {
    await history.step();
    if (step % COLLECT_EVERY === COLLECT_EVERY - 1) await history.collectAndCompare();
  }
  await history.collectAndCompare();
});
