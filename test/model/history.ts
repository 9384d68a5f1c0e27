/** Random histories of everything the collector minds, each step told to a {@link Graph} too. */
import assert from 'node:assert/strict';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import type { Clock } from '../../plugins/metadata/expiry.js';
import type { MetadataServices } from '../../plugins/metadata/metadata.js';
import { container } from '../harness/metadata.js';
import { Graph, type Item, item, type Name } from './graph.js';
import { type Labelled, randomLabels, SNAPSHOTTER, type Vocabulary } from './labels.js';
import type { Random } from './random.js';

const NAMESPACES = ['one', 'two'];
const HOUR = 3_600_000;
/** Far longer than the test: what expires on this clock starts no collection by itself. */
const TEN_MINUTES = HOUR / 6;
const INGEST_LIFE = 24 * HOUR;
const START = Date.UTC(2026, 0, 1);

const BLOBS = Array.from({ length: 24 }, (_, index) => Buffer.from(`blob ${index}`));
const BY_DIGEST = new Map(BLOBS.map((bytes) => [digestOf(bytes), bytes]));
const LEASES = ['l0', 'l1', 'l2', 'l3', 'l4'];
const REFS = ['r0', 'r1', 'r2'];
const WORDS: Vocabulary = {
  digests: [...BY_DIGEST.keys()],
  snapshots: Array.from({ length: 16 }, (_, index) => `s${index}`),
  names: ['a', 'b', 'c', 'd', 'e', 'f'],
};

/** What is really there, kind by kind. */
export interface Disk {
  readonly blobs: readonly string[];
  readonly snapshots: readonly string[];
  readonly ingests: number;
}

/** What the steps act on; a restart replaces the services. */
export interface Subject {
  services(): MetadataServices;
  disk(): Promise<Disk>;
}

const snapshotName = (key: string): Name => `snapshot/${SNAPSHOTTER}/${key}`;

const iso = (millis: number): string => new Date(millis).toISOString();

const REFUSALS = ['ALREADY_EXISTS', 'NOT_FOUND', 'FAILED_PRECONDITION', 'INVALID_ARGUMENT'] as const;

/** False when the call is refused, as many of the random ones must be. */
async function done(work: Promise<unknown>, refusals: readonly ErrorCode[] = REFUSALS): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (refusals.some((code) => hasCode(error, code))) return false;
    throw error;
  }
}

export class History {
  /** Steps of that kind that were carried out. */
  readonly counts = new Map<string, number>();
  readonly #subject: Subject;
  readonly #random: Random;
  readonly #graphs = new Map<string, Graph>(NAMESPACES.map((namespace) => [namespace, new Graph()]));
  #now = START;
  /** While a collection runs beside the steps: by namespace, what it may take. Else undefined. */
  #mayGo: Map<string, Set<Name>> | undefined;

  constructor(subject: Subject, random: Random) {
    this.#subject = subject;
    this.#random = random;
  }

  /** Time passes only between steps. */
  clock(): Clock {
    return { wall: () => BigInt(this.#now) * 1_000_000n, monotonic: () => this.#now - START };
  }

  async step(): Promise<void> {
    if (this.#random.oneIn(40)) this.#now += this.#random.below(12) * TEN_MINUTES;
    const namespace = this.#random.pick(NAMESPACES);
    const graph = this.#graphs.get(namespace) ?? new Graph();
    const kind = this.#random.pick(Object.keys(this.#steps));
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    await this.#steps[kind]?.({ namespace }, graph);
  }

  /** Alone: what the model keeps must be what there is, in the records and on disk. */
  async collectAndCompare(): Promise<void> {
    await this.#subject.services().collector.collect();
    const blobs = new Set<string>();
    const snapshots: string[] = [];
    let ingests = 0;
    for (const [namespace, graph] of this.#graphs) {
      graph.retain(graph.kept(this.#now));
      assert.deepEqual(await this.#recorded({ namespace }), this.#expected(graph), `records of "${namespace}"`);
      for (const digest of graph.keys('content')) blobs.add(digest);
      snapshots.push(...graph.keys('snapshot').map((key) => `${namespace}:${key}`));
      ingests += graph.keys('ingest').length;
    }
    const expected = { blobs: [...blobs].sort(), snapshots: snapshots.sort(), ingests };
    assert.deepEqual(await this.#subject.disk(), expected, 'on disk');
  }

  /** A collection with steps beside it: it may take what could not be reached when it began, and nothing else. */
  async collectBeside(steps: number): Promise<void> {
    this.#mayGo = new Map(NAMESPACES.map((namespace) => [namespace, new Set()]));
    this.#noteUnreachable();
    const collecting = this.#subject.services().collector.collect();
    for (let step = 0; step < steps; step += 1) {
      await this.step();
      this.#noteUnreachable();
    }
    await collecting;
    for (const [namespace, graph] of this.#graphs) await this.#findLosses({ namespace }, graph);
    this.#mayGo = undefined;
  }

  #noteUnreachable(): void {
    for (const [namespace, graph] of this.#graphs) {
      const kept = graph.kept(this.#now);
      const mayGo = this.#mayGo?.get(namespace);
      for (const name of [...graph.items.keys(), ...graph.leases.keys()]) if (!kept.has(name)) mayGo?.add(name);
    }
  }

  /** What a collection took meanwhile is gone from the model too, if it was free to go. */
  async #findLosses(scope: Scope, graph: Graph): Promise<void> {
    const recorded = await this.#recorded(scope);
    const present = new Set(Object.entries(recorded).flatMap(([kind, keys]) => keys.map((key) => `${kind}/${key}`)));
    for (const name of [...graph.items.keys(), ...graph.leases.keys()]) {
      if (present.has(name) || name.startsWith('container/')) continue;
      assert.ok(this.#mayGo?.get(scope.namespace)?.has(name), `"${name}" was collected and could be reached`);
    }
    for (const name of present) {
      assert.ok(graph.items.has(name) || graph.leases.has(name), `"${name}" came back`);
    }
    graph.retain(new Set([...present, ...graph.keys('container').map((id) => `container/${id}`)]));
  }

  async #recorded(scope: Scope): Promise<Record<string, readonly string[]>> {
    const { content, snapshots, images, leases } = this.#subject.services();
    const names = async <T>(list: AsyncIterable<T> | Promise<readonly T[]>, name: (entry: T) => string) =>
      (await Array.fromAsync(await list)).map(name).sort();
    return {
      content: await names(content.walk(scope), ({ digest }) => digest),
      snapshot: await names(snapshots.walk(scope, SNAPSHOTTER), ({ name }) => `${SNAPSHOTTER}/${name}`),
      image: await names(images.list(scope), ({ name }) => name),
      lease: await names(leases.list(scope), ({ id }) => id),
      ingest: await names(content.statuses(scope), ({ ref }) => ref),
    };
  }

  #expected(graph: Graph): Record<string, readonly string[]> {
    const kinds = ['content', 'snapshot', 'image', 'lease', 'ingest'];
    return Object.fromEntries(kinds.map((kind) => [kind, graph.keys(kind)]));
  }

  /** What the model says must be so; beside a collection, something may be gone that it still knows. */
  #check(succeeded: boolean, predicted: boolean, what: string): void {
    if (!this.#mayGo) assert.equal(succeeded, predicted, what);
  }

  #put(graph: Graph, scope: Scope, name: Name, what: Item): void {
    graph.items.set(name, what);
    this.#touched(scope, name);
  }

  /** What is made while a collection runs stays. */
  #touched({ namespace }: Scope, name: Name): void {
    this.#mayGo?.get(namespace)?.delete(name);
  }

  /** Some calls are made under a lease. */
  #scope(scope: Scope, graph: Graph): Scope {
    const leases = graph.keys('lease');
    return leases.length > 0 && this.#random.oneIn(3) ? { ...scope, lease: this.#random.pick(leases) } : scope;
  }

  #lease({ lease }: Scope, graph: Graph, name: Name): void {
    if (lease !== undefined) graph.leases.get(`lease/${lease}`)?.resources.add(name);
  }

  #labels(kind: 'content' | 'snapshot' | 'image' | 'container'): Labelled {
    return randomLabels(this.#random, WORDS, this.#now, kind);
  }

  readonly #steps: Readonly<Record<string, (scope: Scope, graph: Graph) => Promise<void>>> = {
    put: (scope, graph) => this.#putContent(this.#scope(scope, graph), graph),
    'put again': (scope, graph) => this.#putContent(this.#scope(scope, graph), graph),
    'label content': async (scope, graph) => {
      const digest = this.#random.pick(WORDS.digests);
      const { labels, item: labelled } = this.#labels('content');
      const updated = await done(this.#subject.services().content.update(scope, digest, labels));
      this.#check(updated, graph.items.has(`content/${digest}`), `label ${digest}`);
      if (updated) this.#put(graph, scope, `content/${digest}`, labelled);
    },
    'delete content': async (scope, graph) => {
      if (!this.#random.oneIn(4)) return;
      const digest = this.#random.pick(WORDS.digests);
      const deleted = await done(this.#subject.services().content.delete(scope, digest));
      this.#check(deleted, graph.items.has(`content/${digest}`), `delete ${digest}`);
      graph.items.delete(`content/${digest}`);
    },
    layer: (scope, graph) => this.#makeLayer(this.#scope(scope, graph), graph),
    'layer again': (scope, graph) => this.#makeLayer(this.#scope(scope, graph), graph),
    prepare: async (scope, graph) => {
      const key = `active${this.#random.below(4)}`;
      const parent = this.#parent(graph);
      const { labels, item: labelled } = this.#labels('snapshot');
      const { snapshots } = this.#subject.services();
      const prepared = await done(snapshots.prepare(scope, SNAPSHOTTER, key, parent, labels));
      this.#check(prepared, !graph.items.has(snapshotName(key)), `prepare ${key}`);
      const parts = parent === '' ? [] : [snapshotName(parent)];
      if (prepared) this.#put(graph, scope, snapshotName(key), { ...labelled, parts });
    },
    'label snapshot': async (scope, graph) => {
      const key = this.#random.pick(WORDS.snapshots);
      const { labels, item: labelled } = this.#labels('snapshot');
      const updated = await done(this.#subject.services().snapshots.update(scope, SNAPSHOTTER, key, labels));
      const known = graph.items.get(snapshotName(key));
      this.#check(updated, known !== undefined, `label ${key}`);
      if (updated) this.#put(graph, scope, snapshotName(key), { ...labelled, parts: known?.parts ?? [] });
    },
    'remove snapshot': async (scope, graph) => {
      const key = this.#random.pick([...WORDS.snapshots, 'active0', 'active1']);
      const name = snapshotName(key);
      const isChild = ([child, { parts }]: readonly [Name, Item]): boolean =>
        child.startsWith('snapshot/') && parts.includes(name);
      const hasChild = [...graph.items].some(isChild);
      const removed = await done(this.#subject.services().snapshots.remove(scope, SNAPSHOTTER, key));
      this.#check(removed, graph.items.has(name) && !hasChild, `remove ${key}`);
      if (removed) graph.items.delete(name);
    },
    image: async (scope, graph) => {
      const name = this.#random.pick(WORDS.names);
      const { images } = this.#subject.services();
      if (graph.items.has(`image/${name}`) && this.#random.oneIn(2)) {
        this.#check(await done(images.delete(scope, name)), true, `delete image ${name}`);
        graph.items.delete(`image/${name}`);
        return;
      }
      const digest = this.#random.pick(WORDS.digests);
      const { labels, item: labelled } = this.#labels('image');
      const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 };
      const known = graph.items.has(`image/${name}`);
      const made = await done(images[known ? 'update' : 'create'](scope, { name, target, labels }));
      this.#check(made, true, `image ${name}`);
      if (made) this.#put(graph, scope, `image/${name}`, { ...labelled, parts: [`content/${digest}`] });
    },
    container: async (scope, graph) => {
      const id = this.#random.pick(WORDS.names);
      const { containers } = this.#subject.services();
      if (graph.items.delete(`container/${id}`)) return containers.delete(scope, id);
      const snapshotKey = this.#random.pick(WORDS.snapshots);
      const { labels, item: labelled } = this.#labels('container');
      await containers.create(scope, container(id, { snapshotter: SNAPSHOTTER, snapshotKey, labels }));
      this.#put(graph, scope, `container/${id}`, { ...labelled, parts: [snapshotName(snapshotKey)] });
    },
    lease: async (scope, graph) => {
      const id = this.#random.pick(LEASES);
      const { leases } = this.#subject.services();
      if (graph.leases.has(`lease/${id}`)) {
        if (!this.#random.oneIn(2)) return;
        this.#check(await done(leases.delete(scope, id)), true, `delete lease ${id}`);
        graph.leases.delete(`lease/${id}`);
        return;
      }
      const flat = this.#random.oneIn(3);
      const expires = this.#random.oneIn(2) ? this.#now + (1 + this.#random.below(6)) * HOUR : undefined;
      const labels: Labels = {
        ...(flat && { 'containerd.io/gc.flat': '1' }),
        ...(expires !== undefined && { 'containerd.io/gc.expire': iso(expires) }),
      };
      this.#check(await done(leases.create(scope, { id, labels })), true, `lease ${id}`);
      graph.leases.set(`lease/${id}`, { flat, resources: new Set(), ...(expires !== undefined && { expires }) });
      this.#touched(scope, `lease/${id}`);
    },
    hold: (scope, graph) => this.#holdOrNot('addResource', scope, graph),
    'hold again': (scope, graph) => this.#holdOrNot('addResource', scope, graph),
    'let go': (scope, graph) => this.#holdOrNot('deleteResource', scope, graph),
    ingest: async (outer, graph) => {
      const scope = this.#scope(outer, graph);
      const ref = this.#random.pick(REFS);
      const name = `ingest/${ref}`;
      const { content } = this.#subject.services();
      if (graph.items.has(name) && this.#random.oneIn(2)) {
        this.#check(await done(content.abort(outer, ref)), true, `abort ${ref}`);
        graph.items.delete(name);
        return;
      }
      const begun = await done(this.#begin(scope, ref));
      this.#check(begun, true, `ingest ${ref}`);
      if (!begun) return;
      // Under a lease, that alone keeps it.
      const expires = scope.lease === undefined ? this.#now + INGEST_LIFE : 0;
      this.#put(graph, scope, name, item({ expires }));
      this.#lease(scope, graph, name);
    },
  };

  async #putContent(scope: Scope, graph: Graph): Promise<void> {
    const digest = this.#random.pick(WORDS.digests);
    const { labels, item: labelled } = this.#labels('content');
    const name = `content/${digest}`;
    const refusals = this.#mayLoseLease(scope) ? [...REFUSALS, 'ABORTED' as const] : REFUSALS;
    const put = await done(this.#write(scope, digest, labels), refusals);
    this.#check(put, !graph.items.has(name), `put ${digest}`);
    if (put) this.#put(graph, scope, name, labelled);
    this.#lease(scope, graph, name);
  }

  /** What is under way under a lease that has expired may be collected with it. */
  #mayLoseLease({ namespace, lease }: Scope): boolean {
    return this.#mayGo?.get(namespace)?.has(`lease/${lease}`) ?? false;
  }

  async #write(scope: Scope, digest: string, labels: Labels): Promise<void> {
    const expected = this.#random.oneIn(2) ? { expected: digest } : {};
    const ref = `put ${digest}`;
    const writer = await this.#subject.services().content.writer(scope, { ref, ...expected });
    try {
      const bytes = BY_DIGEST.get(digest) ?? Buffer.alloc(0);
      if (writer.status().offset === 0) await writer.write(bytes);
      await writer.commit({ expected: digest, labels });
    } finally {
      await writer.close();
      // Refused beside a collection, it could be resumed: the model knows of no such thing.
      await done(this.#subject.services().content.abort(scope, ref), ['NOT_FOUND']);
    }
  }

  async #begin(scope: Scope, ref: string): Promise<void> {
    const writer = await this.#subject.services().content.writer(scope, { ref });
    await writer.write(Buffer.from('x'));
    await writer.close();
  }

  /** The key of a committed snapshot, or none. */
  #parent(graph: Graph): string {
    const found = graph.keys('snapshot').map((key) => key.slice(SNAPSHOTTER.length + 1));
    const committed = found.filter((key) => !key.startsWith('active'));
    return committed.length > 0 && !this.#random.oneIn(3) ? this.#random.pick(committed) : '';
  }

  async #makeLayer(scope: Scope, graph: Graph): Promise<void> {
    const key = this.#random.pick(WORDS.snapshots);
    const parent = this.#parent(graph);
    const making = `making ${key}`;
    const { snapshots } = this.#subject.services();
    const { labels, item: labelled } = this.#labels('snapshot');
    if (!(await done(snapshots.prepare(scope, SNAPSHOTTER, making, parent)))) {
      this.#check(false, true, `prepare ${making} on "${parent}"`);
      return;
    }
    const made = await done(snapshots.commit(scope, SNAPSHOTTER, key, making, { labels }));
    this.#check(made, !graph.items.has(snapshotName(key)), `commit ${key}`);
    const parts = parent === '' ? [] : [snapshotName(parent)];
    if (made) this.#put(graph, scope, snapshotName(key), { ...labelled, parts });
    else await done(snapshots.remove(scope, SNAPSHOTTER, making));
    this.#lease(scope, graph, snapshotName(key));
  }

  async #holdOrNot(call: 'addResource' | 'deleteResource', scope: Scope, graph: Graph): Promise<void> {
    const id = this.#random.pick(LEASES);
    const lease = graph.leases.get(`lease/${id}`);
    const [name, resource] = this.#resource();
    const held = await done(this.#subject.services().leases[call](scope, id, resource));
    this.#check(held, lease !== undefined, `${call} of lease ${id}`);
    if (!held) return;
    if (call === 'deleteResource') lease?.resources.delete(name);
    else lease?.resources.add(name);
  }

  #resource(): readonly [Name, { readonly type: string; readonly id: string }] {
    const digest = this.#random.pick(WORDS.digests);
    const key = this.#random.pick(WORDS.snapshots);
    const name = this.#random.pick(WORDS.names);
    const ref = this.#random.pick(REFS);
    return this.#random.pick([
      [`content/${digest}`, { type: 'content', id: digest }],
      [snapshotName(key), { type: `snapshots/${SNAPSHOTTER}`, id: key }],
      [`image/${name}`, { type: 'images', id: name }],
      [`ingest/${ref}`, { type: 'ingests', id: ref }],
    ] as const);
  }
}
