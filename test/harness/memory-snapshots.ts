/** An in-memory snapshotter and differ, beside memory.ts. */
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import type { ApplyLayer, Diff } from '../../kernel/contracts/diff.js';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import type { SnapshotInfo, Snapshots } from '../../kernel/contracts/snapshots.js';
import { alreadyExists, failedPrecondition, invalidArgument } from '../../kernel/errors.js';
import { type MemoryLeases, present, unused } from './memory.js';

interface MemorySnapshot {
  kind: SnapshotInfo['kind'];
  parent: string;
  labels: Labels;
  /** diffIDs applied, base first, without those of the parents. */
  readonly applied: string[];
}

/** One snapshotter; what is applied to a snapshot is kept as a list of diffIDs. */
export class MemorySnapshots implements Snapshots {
  readonly snapshots = new Map<string, MemorySnapshot>();
  /** Keys that were ever prepared, with the parent. */
  readonly prepared: { readonly key: string; readonly parent: string }[] = [];
  readonly #capabilities: readonly string[];
  readonly #leases: MemoryLeases;

  constructor(leases: MemoryLeases, capabilities: readonly string[]) {
    this.#leases = leases;
    this.#capabilities = capabilities;
  }

  names = () => ['memory'];

  capabilities(snapshotter: string): readonly string[] {
    if (snapshotter !== 'memory') throw invalidArgument(`snapshotter not loaded: ${snapshotter}`);
    return this.#capabilities;
  }

  async stat(_scope: Scope, _snapshotter: string, name: string): Promise<SnapshotInfo> {
    const { kind, parent, labels } = present(this.snapshots.get(name), name);
    return { kind, name, parent, labels, createdAt: 0n, updatedAt: 0n };
  }

  async prepare(scope: Scope, _snapshotter: string, key: string, parent: string, labels: Labels = {}) {
    if (this.snapshots.has(key)) throw alreadyExists(`${key} is here`);
    if (parent !== '') present(this.snapshots.get(parent), parent);
    this.snapshots.set(key, { kind: 'active', parent, labels, applied: [] });
    this.prepared.push({ key, parent });
    this.#leases.touch(scope, { type: 'snapshots/memory', id: key });
    return [{ type: 'memory', source: key, target: '', options: [] }];
  }

  async commit(
    scope: Scope,
    _snapshotter: string,
    name: string,
    key: string,
    options: { labels?: Labels; parent?: string } = {},
  ) {
    const snapshot = present(this.snapshots.get(key), key);
    if (this.snapshots.has(name)) throw alreadyExists(`${name} is here`);
    if (options.parent !== undefined) {
      if (snapshot.parent !== '') throw failedPrecondition(`${key} has a parent`);
      snapshot.parent = options.parent;
    }
    if (snapshot.parent !== '') present(this.snapshots.get(snapshot.parent), snapshot.parent);
    this.snapshots.delete(key);
    this.snapshots.set(name, { ...snapshot, kind: 'committed', labels: options.labels ?? {} });
    this.#leases.touch(scope, { type: 'snapshots/memory', id: name });
  }

  async remove(_scope: Scope, _snapshotter: string, key: string): Promise<void> {
    present(this.snapshots.get(key), key);
    if ([...this.snapshots.values()].some(({ parent }) => parent === key))
      throw failedPrecondition(`${key} has children`);
    this.snapshots.delete(key);
  }

  /** The diffIDs that make up a snapshot, base first. */
  chain(name: string): readonly string[] {
    const { parent, applied } = present(this.snapshots.get(name), name);
    return [...(parent === '' ? [] : this.chain(parent)), ...applied];
  }

  /** Names of snapshots that are not committed. */
  unfinished(): readonly string[] {
    return [...this.snapshots].filter(([, { kind }]) => kind !== 'committed').map(([name]) => name);
  }

  update = unused;
  usage = unused;
  mounts = unused;
  view = unused;
  cleanup = async () => {};
  async *walk() {}
}

/** Decompresses gzip and keeps the diffID in the snapshot; a layer that begins with `needs-parent` cannot be detached. */
export class MemoryDiff implements Diff {
  /** Layers opened so far. */
  readonly opened: ApplyLayer[] = [];
  readonly #snapshots: MemorySnapshots;

  constructor(snapshots: MemorySnapshots) {
    this.#snapshots = snapshots;
  }

  async open(layer: ApplyLayer) {
    this.opened.push(layer);
    const chunks: Buffer[] = [];
    const snapshot = present(this.#snapshots.snapshots.get(layer.mounts[0]?.source ?? ''), 'the snapshot');
    return {
      write: async (chunk: Uint8Array) => void chunks.push(Buffer.from(chunk)),
      abort: async () => {},
      end: async () => {
        const archive = inflate(Buffer.concat(chunks));
        const diffId = `sha256:${createHash('sha256').update(archive).digest('hex')}`;
        snapshot.applied.push(diffId);
        const unresolved = layer.detached === true && archive.toString('latin1', 0, 12) === 'needs-parent';
        return { diffId, size: archive.length, unresolved };
      },
    };
  }

  apply = unused;
  compare = unused;
}

function inflate(bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes);
  } catch (cause) {
    throw invalidArgument('the layer is no gzip stream', { cause });
  }
}
