/**
 * Snapshots without any help of the kernel: `<root>/snapshots/<id>/fs` is the
 * whole filesystem of a snapshot, copied from its parent when it is prepared.
 * Where the filesystem can share blocks between files (btrfs, XFS), copies do.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import type { Snapshotter } from '../../kernel/contracts/snapshots.js';
import { SnapshotDirectories } from '../../lib/snapshot-records/directories.js';
import {
  type Layer,
  type SnapshotStorage,
  type StorageMount,
  StoredSnapshotter,
} from '../../lib/snapshot-records/snapshotter.js';
import { copyTree, measureTree, type TreeUsage } from '../../lib/tree/jobs.js';

class VfsStorage implements SnapshotStorage {
  /** A copy is made of the parent there is; it cannot get another one later. */
  readonly capabilities = [];
  readonly #directories: SnapshotDirectories;

  constructor(root: string) {
    this.#directories = new SnapshotDirectories(root);
  }

  async create({ id, kind, ancestors }: Layer): Promise<void> {
    const [parent] = ancestors;
    if (parent !== undefined) this.#directories.rootOf(parent);
    // A view shows its parent itself, read-only.
    if (kind === 'view' && parent !== undefined) return;
    mkdirSync(this.#directories.path(id), { mode: 0o700 });
    const files = this.#directories.files(id);
    mkdirSync(files);
    chmodSync(files, 0o755);
    if (parent !== undefined) await copyTree(this.#directories.files(parent), files);
  }

  measure({ id }: Layer): Promise<TreeUsage> {
    return measureTree(this.#directories.files(id));
  }

  mounts({ id, kind, ancestors }: Layer): readonly StorageMount[] {
    const [parent = id] = kind === 'view' ? ancestors : [];
    const options = [kind === 'view' ? 'ro' : 'rw', 'rbind'];
    return [{ type: 'bind', source: this.#directories.files(parent), target: '', options }];
  }

  destroy(id: number, apart = false): Promise<void> {
    return this.#directories.remove(id, apart);
  }

  ids(): Promise<readonly number[]> {
    return this.#directories.ids();
  }

  isWhole(id: number): boolean {
    return this.#directories.has(id);
  }
}

export interface VfsOptions {
  readonly warn: (message: string, error: unknown) => void;
}

/** Opens the snapshots below `root` or starts anew. `close` it in the end. */
export function openVfs(root: string, { warn }: VfsOptions): Promise<Snapshotter & { close(): Promise<void> }> {
  return StoredSnapshotter.open({ root, storage: new VfsStorage(root), warn });
}
