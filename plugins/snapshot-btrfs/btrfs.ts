/**
 * Snapshots by btrfs: the files of a snapshot are the subvolume
 * `<root>/snapshots/<id>/fs`, made as a snapshot of its parent's. Committing
 * makes it read-only.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import type { Snapshotter } from '../../kernel/contracts/snapshots.js';
import {
  createSubvolume,
  destroySubvolume,
  exclusiveBytes,
  setReadOnly,
  snapshotSubvolume,
} from '../../lib/linux/btrfs.js';
import { SystemError } from '../../lib/linux/libc.js';
import { SnapshotDirectories } from '../../lib/snapshot-records/directories.js';
import {
  type Layer,
  type SnapshotStorage,
  type StorageMount,
  StoredSnapshotter,
} from '../../lib/snapshot-records/snapshotter.js';
import { measureChanges, measureTree, type TreeUsage } from '../../lib/tree/jobs.js';

const FILES = 'fs';

class BtrfsStorage implements SnapshotStorage {
  /** A subvolume holds its parent's files; it cannot get another parent later. */
  readonly capabilities = [];
  readonly #directories: SnapshotDirectories;

  constructor(root: string) {
    this.#directories = new SnapshotDirectories(root);
  }

  async create({ id, kind, ancestors }: Layer): Promise<void> {
    const [parent] = ancestors;
    if (parent !== undefined) this.#directories.rootOf(parent);
    // A view shows its parent itself, which is read-only.
    if (kind === 'view' && parent !== undefined) return;
    const directory = this.#directories.path(id);
    mkdirSync(directory, { mode: 0o700 });
    if (parent !== undefined) return snapshotSubvolume(this.#directories.files(parent), directory, FILES);
    await createSubvolume(directory, FILES);
    chmodSync(this.#directories.files(id), 0o755);
  }

  freeze({ id }: Layer): Promise<void> {
    return setReadOnly(this.#directories.files(id), true);
  }

  async measure({ id, ancestors }: Layer): Promise<TreeUsage> {
    const files = this.#directories.files(id);
    const [parent] = ancestors;
    const usage = parent === undefined ? measureTree(files) : measureChanges(files, this.#directories.files(parent));
    const exclusive = await exclusiveBytes(files);
    return exclusive === undefined ? usage : { ...(await usage), size: exclusive };
  }

  mounts({ id, kind, ancestors }: Layer): readonly StorageMount[] {
    const [parent = id] = kind === 'view' ? ancestors : [];
    const options = [kind === 'view' ? 'ro' : 'rw', 'rbind'];
    return [{ type: 'bind', source: this.#directories.files(parent), target: '', options }];
  }

  async destroy(id: number, apart = false): Promise<void> {
    try {
      await destroySubvolume(this.#directories.path(id), FILES);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      // Subvolumes made inside it have to go first, and empty ones go as directories do.
      if (error.errno === 'ENOTEMPTY') await setReadOnly(this.#directories.files(id), false);
      else if (error.errno !== 'ENOENT') throw error;
    }
    await this.#directories.remove(id, apart);
  }

  ids(): Promise<readonly number[]> {
    return this.#directories.ids();
  }

  isWhole(id: number): boolean {
    return this.#directories.has(id);
  }
}

export interface BtrfsOptions {
  readonly warn: (message: string, error: unknown) => void;
}

/** Opens the snapshots below `root`, a directory on btrfs, or starts anew. `close` it in the end. */
export function openBtrfs(root: string, { warn }: BtrfsOptions): Promise<Snapshotter & { close(): Promise<void> }> {
  return StoredSnapshotter.open({ root, storage: new BtrfsStorage(root), warn });
}
