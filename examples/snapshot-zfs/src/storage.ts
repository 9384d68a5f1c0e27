/**
 * Storage of snapshots: the files of snapshot 7 are the dataset `<dataset>/7`,
 * mounted by ZFS at `<root>/datasets/7`, which is what containers are given, as
 * a bind mount. A layer on it is a clone of `<dataset>/7@layer`.
 */
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { dataLoss } from 'keelson/errors';
import {
  type Layer,
  measureChanges,
  measureTree,
  type SnapshotStorage,
  type StorageMount,
  type TreeUsage,
} from 'keelson/snapshot-records';
import { datasetsBelow, destroy, snapshot, zfs } from './zfs.js';

/** A positive integer that is exact as a number. */
const ID = /^[1-9][0-9]{0,14}$/;

export class ZfsStorage implements SnapshotStorage {
  /** A clone holds its origin's files; it cannot get another origin later. */
  readonly capabilities = [];
  readonly #dataset: string;
  readonly #directory: string;
  /** Layers whose `@layer` exists, or is being made. */
  readonly #origins = new Map<number, Promise<string>>();

  constructor(dataset: string, root: string) {
    this.#dataset = dataset;
    this.#directory = join(root, 'datasets');
  }

  /** Mounts what was mounted before the machine went down. */
  async prepare(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const { name, mounted } of await datasetsBelow(this.#dataset)) if (!mounted) await zfs('mount', name);
  }

  async create({ id, ancestors }: Layer): Promise<void> {
    const [parent] = ancestors;
    const options = ['-o', `mountpoint=${this.#files(id)}`];
    if (parent === undefined) await zfs('create', ...options, this.#name(id));
    else await zfs('clone', ...options, await this.#origin(parent), this.#name(id));
  }

  /** Whoever still has it mounted may write on: everybody else sees clones of this moment. */
  async freeze({ id }: Layer): Promise<void> {
    await this.#origin(id);
  }

  measure({ id, ancestors }: Layer): Promise<TreeUsage> {
    const [parent] = ancestors;
    return parent === undefined ? measureTree(this.#files(id)) : measureChanges(this.#files(id), this.#files(parent));
  }

  mounts({ id, kind }: Layer): readonly StorageMount[] {
    const options = [kind === 'view' ? 'ro' : 'rw', 'rbind'];
    return [{ type: 'bind', source: this.#files(id), target: '', options }];
  }

  async destroy(id: number): Promise<void> {
    await destroy(this.#name(id));
    this.#origins.delete(id);
    await rmdir(this.#files(id)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }

  /** Highest first: a dataset can go once its clones, which are younger, have gone. */
  async ids(): Promise<readonly number[]> {
    const names = (await datasetsBelow(this.#dataset)).map(({ name }) => name.slice(this.#dataset.length + 1));
    return names
      .filter((name) => ID.test(name))
      .map(Number)
      .sort((a, b) => b - a);
  }

  #name(id: number): string {
    return `${this.#dataset}/${id}`;
  }

  #files(id: number): string {
    return join(this.#directory, String(id));
  }

  /** What to clone: made when the layer is committed, or here when a crash came between. */
  #origin(id: number): Promise<string> {
    const known = this.#origins.get(id);
    if (known !== undefined) return known;
    const made = this.#makeOrigin(id);
    this.#origins.set(id, made);
    made.catch(() => this.#origins.delete(id));
    return made;
  }

  async #makeOrigin(id: number): Promise<string> {
    const origin = `${this.#name(id)}@layer`;
    const outcome = await snapshot(origin);
    if (outcome === 'no dataset') {
      const remedy = 'remove the snapshots on it and pull the image again';
      throw dataLoss(`the parent snapshot is missing: dataset "${this.#name(id)}" does not exist`, { remedy });
    }
    return origin;
  }
}
