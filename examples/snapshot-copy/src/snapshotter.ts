/**
 * Names, parents, labels and the order of changes are `StoredSnapshotter`'s
 * business; this file only keeps files: snapshot 7 is `<root>/snapshots/7/fs`.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Snapshotter } from 'keelson/contracts/snapshots';
import {
  type Layer,
  measureChanges,
  measureTree,
  SnapshotDirectories,
  type SnapshotStorage,
  type StorageMount,
  StoredSnapshotter,
  type TreeUsage,
} from 'keelson/snapshot-records';

const execute = promisify(execFile);

class CopyStorage implements SnapshotStorage {
  readonly capabilities = [];
  readonly #directories: SnapshotDirectories;
  readonly #reflink: boolean;

  constructor(root: string, reflink: boolean) {
    this.#directories = new SnapshotDirectories(root);
    this.#reflink = reflink;
  }

  async create({ id, ancestors }: Layer): Promise<void> {
    const [parent] = ancestors;
    const files = this.#directories.files(id);
    await mkdir(this.#directories.path(id), { mode: 0o700 });
    if (parent === undefined) {
      await mkdir(files);
      await chmod(files, 0o755);
      return;
    }
    this.#directories.rootOf(parent);
    const reflink = `--reflink=${this.#reflink ? 'auto' : 'never'}`;
    await execute('cp', ['--archive', reflink, this.#directories.files(parent), files]);
  }

  measure({ id, ancestors }: Layer): Promise<TreeUsage> {
    const [parent] = ancestors;
    const files = this.#directories.files(id);
    return parent === undefined ? measureTree(files) : measureChanges(files, this.#directories.files(parent));
  }

  mounts({ id, kind }: Layer): readonly StorageMount[] {
    const options = [kind === 'view' ? 'ro' : 'rw', 'rbind'];
    return [{ type: 'bind', source: this.#directories.files(id), target: '', options }];
  }

  destroy(id: number, apart: boolean): Promise<void> {
    return this.#directories.remove(id, apart);
  }

  ids(): Promise<readonly number[]> {
    return this.#directories.ids();
  }
}

export interface CopyOptions {
  readonly root: string;
  readonly reflink: boolean;
  /** Told when something cannot be deleted now; it is tried again. */
  readonly warn: (message: string, error: unknown) => void;
}

/** Opens the snapshots below `root`, or starts anew. `close` it in the end. */
export function openSnapshotter(options: CopyOptions): Promise<Snapshotter & { close(): Promise<void> }> {
  const { root, reflink, warn } = options;
  return StoredSnapshotter.open({ root, storage: new CopyStorage(root, reflink), warn });
}
