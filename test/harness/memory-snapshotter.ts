/** A snapshotter in memory: it keeps every refusal of the contract, and no files. Its mounts are of the type `memory`. */
import type { Labels, UpdateMask } from '../../kernel/contracts/scope.js';
import type {
  CommitSnapshot,
  Mount,
  SnapshotInfo,
  SnapshotKind,
  Snapshotter,
} from '../../kernel/contracts/snapshots.js';
import { alreadyExists, failedPrecondition, invalidArgument, notFound } from '../../kernel/errors.js';
import { updateLabels } from '../../lib/labels.js';
import { now } from '../../lib/rpc/timestamp.js';

export class MemorySnapshotter implements Snapshotter {
  readonly capabilities: readonly string[] = ['rebase'];
  readonly snapshots = new Map<string, SnapshotInfo>();

  async stat(key: string): Promise<SnapshotInfo> {
    return this.#snapshot(key);
  }

  async update(key: string, labels: Labels, mask?: UpdateMask): Promise<SnapshotInfo> {
    const snapshot = this.#snapshot(key);
    const changed = updateLabels(`snapshot "${key}"`, snapshot.labels, labels, mask);
    const updated = { ...snapshot, labels: changed, updatedAt: now() };
    this.snapshots.set(key, updated);
    return updated;
  }

  async usage(key: string): Promise<{ readonly inodes: number; readonly size: number }> {
    this.#snapshot(key);
    return { inodes: 0, size: 0 };
  }

  async mounts(key: string): Promise<readonly Mount[]> {
    const { kind, parent } = this.#snapshot(key);
    if (kind === 'committed') throw failedPrecondition(`snapshot "${key}" is committed: it has no mounts`);
    const options = [kind === 'view' ? 'ro' : 'rw', ...(parent === '' ? [] : [`parent=${parent}`])];
    return [{ type: 'memory', source: key, target: '', options }];
  }

  async prepare(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
    return this.#make('active', key, parent, labels);
  }

  async view(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
    return this.#make('view', key, parent, labels);
  }

  async commit(name: string, key: string, { labels = {}, parent }: CommitSnapshot = {}): Promise<void> {
    this.#refuseTaken(name);
    const snapshot = this.#snapshot(key);
    if (snapshot.kind !== 'active') throw failedPrecondition(`snapshot "${key}" is not active`);
    const given = parent || snapshot.parent;
    if (snapshot.parent !== '' && snapshot.parent !== given)
      throw invalidArgument(`snapshot "${key}" was prepared on "${snapshot.parent}" and cannot be put on "${given}"`);
    this.#refuseParent(given);
    this.snapshots.delete(key);
    const time = now();
    this.snapshots.set(name, { kind: 'committed', name, parent: given, labels, createdAt: time, updatedAt: time });
  }

  async remove(key: string): Promise<void> {
    this.#snapshot(key);
    for (const { name, parent } of this.snapshots.values())
      if (parent === key) throw failedPrecondition(`snapshot "${key}" has a child, "${name}"`);
    this.snapshots.delete(key);
  }

  async *walk(): AsyncIterable<SnapshotInfo> {
    yield* [...this.snapshots.values()];
  }

  async cleanup(): Promise<void> {}

  #make(kind: SnapshotKind, key: string, parent: string, labels: Labels): Promise<readonly Mount[]> {
    this.#refuseTaken(key);
    this.#refuseParent(parent);
    const time = now();
    this.snapshots.set(key, { kind, name: key, parent, labels, createdAt: time, updatedAt: time });
    return this.mounts(key);
  }

  #snapshot(key: string): SnapshotInfo {
    const snapshot = this.snapshots.get(key);
    if (snapshot === undefined) throw notFound(`snapshot "${key}" not found`);
    return snapshot;
  }

  #refuseTaken(key: string): void {
    if (key === '') throw invalidArgument('a snapshot needs a key');
    if (this.snapshots.has(key)) throw alreadyExists(`snapshot "${key}" already exists`);
  }

  #refuseParent(parent: string): void {
    if (parent !== '' && this.#snapshot(parent).kind !== 'committed')
      throw invalidArgument(`snapshot "${parent}" is not committed: it cannot be a parent`);
  }
}
