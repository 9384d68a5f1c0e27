/**
 * The part of a snapshotter that does not depend on how it stores snapshots:
 * names, parents, kinds and labels in {@link SnapshotRecords}, and the order in
 * which storage and records change, so that a crash at any instant leaves
 * nothing visible that is not whole.
 *
 * Storage is made before the record that makes it visible, and deleted, by
 * `cleanup`, after the record is gone. Storage without a record is a leftover.
 */
import { join } from 'node:path';
import { unimplemented } from '../../kernel/errors.js';
import { fileError, whileDoing } from '../errno.js';
import { failpoint } from '../failpoint.js';
import { type SnapshotKind, type SnapshotRecord, SnapshotRecords, type SnapshotUsage } from './records.js';

type Labels = Readonly<Record<string, string>>;

export interface StorageMount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

/** A snapshot as its storage knows it. */
export interface Layer {
  readonly id: number;
  readonly kind: SnapshotKind;
  /** Ids, nearest first. */
  readonly ancestors: readonly number[];
  readonly labels: Labels;
}

/** How snapshots are kept. Ids are positive integers, and one is never used twice. */
export interface SnapshotStorage {
  readonly capabilities: readonly string[];
  /** Makes the storage of a new snapshot. What is left of a failed call, `destroy` takes away. */
  create(layer: Layer): Promise<void>;
  /** Measures an active snapshot, also when it is about to be committed. */
  measure(layer: Layer): Promise<SnapshotUsage>;
  /** Called once a snapshot is committed: makes it read-only for those who have it mounted, where that can be done. */
  freeze?(layer: Layer): Promise<void>;
  mounts(layer: Layer): readonly StorageMount[];
  /** Deletes what there is of an id; nothing there is fine. */
  destroy(id: number): Promise<void>;
  /** The ids that storage exists for. */
  ids(): Promise<readonly number[]>;
}

export interface SnapshotterOptions {
  /** Directory of the records; the storage has its own opinion about where it lives. */
  readonly root: string;
  readonly storage: SnapshotStorage;
  /** Told when leftovers cannot be deleted now; the next `cleanup` tries again. */
  readonly warn: (message: string, error: unknown) => void;
}

export interface CommitOptions {
  readonly labels?: Labels;
  readonly parent?: string;
}

/** What the contract says about a snapshot. */
export type StoredInfo = Omit<SnapshotRecord, 'id' | 'usage'>;

const infoOf = ({ id: _id, usage: _usage, ...info }: SnapshotRecord): StoredInfo => info;

/** Implements the contract `Snapshotter` over a {@link SnapshotStorage}. */
export class StoredSnapshotter {
  readonly capabilities: readonly string[];
  readonly #records: SnapshotRecords;
  readonly #storage: SnapshotStorage;
  readonly #warn: SnapshotterOptions['warn'];
  /** Ids whose storage is being made and whose record is still to come. */
  readonly #creating = new Set<number>();
  #cleaning: Promise<void> = Promise.resolve();
  #closing = false;

  private constructor({ storage, warn }: SnapshotterOptions, records: SnapshotRecords) {
    this.capabilities = storage.capabilities;
    this.#records = records;
    this.#storage = storage;
    this.#warn = warn;
  }

  /** Opens what is at `root` or starts anew, and deletes leftovers in the background. Errors of {@link SnapshotRecords.open}. */
  static async open(options: SnapshotterOptions): Promise<StoredSnapshotter> {
    const { storage, warn } = options;
    const records = await SnapshotRecords.open(join(options.root, 'metadata.db'), (message) =>
      warn(message, undefined),
    );
    try {
      for (const id of await storage.ids()) records.skipId(id);
    } catch (error) {
      await records.close();
      throw error;
    }
    const snapshotter = new StoredSnapshotter(options, records);
    snapshotter.cleanup().catch((error: unknown) => warn('leftovers of former runs cannot be listed', error));
    return snapshotter;
  }

  async stat(key: string): Promise<StoredInfo> {
    return infoOf(this.#records.get(key));
  }

  async update(key: string, labels: Labels, mask?: readonly string[]): Promise<StoredInfo> {
    return infoOf(await this.#records.update(key, labels, mask));
  }

  async usage(key: string): Promise<SnapshotUsage> {
    const record = this.#records.get(key);
    return record.kind === 'active' ? this.#storage.measure(this.#layer(record)) : record.usage;
  }

  async mounts(key: string): Promise<readonly StorageMount[]> {
    return this.#storage.mounts(this.#layer(this.#records.getMountable(key)));
  }

  prepare(key: string, parent: string, labels: Labels = {}): Promise<readonly StorageMount[]> {
    return this.#create('active', key, parent, labels);
  }

  view(key: string, parent: string, labels: Labels = {}): Promise<readonly StorageMount[]> {
    return this.#create('view', key, parent, labels);
  }

  async commit(name: string, key: string, { labels = {}, parent = '' }: CommitOptions = {}): Promise<void> {
    const record = this.#records.checkCommit(name, key, parent);
    if (parent !== '' && parent !== record.parent && !this.capabilities.includes('rebase')) {
      throw unimplemented(`snapshot "${key}" cannot get parent "${parent}": this snapshotter cannot rebase`);
    }
    const layer = this.#layer(record);
    const usage = await whileDoing(`committing snapshot "${key}"`, this.#storage.measure(layer));
    failpoint('snap.commit');
    await this.#records.commit({ name, key, labels, usage, parent });
    try {
      await this.#storage.freeze?.(layer);
    } catch (error) {
      this.#warn(`snapshot "${name}" is committed, but its storage cannot be made read-only`, error);
    }
  }

  async remove(key: string): Promise<void> {
    await this.#records.remove(key);
    failpoint('snap.remove');
  }

  async *walk(): AsyncGenerator<StoredInfo> {
    for (const record of this.#records.walk()) yield infoOf(record);
  }

  /** Runs one at a time, since each call must see what was removed before it. */
  cleanup(): Promise<void> {
    const run = this.#cleaning.then(() => this.#clean());
    this.#cleaning = run.catch(() => undefined);
    return run;
  }

  /** Waits for what is running. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true;
    await this.#cleaning;
    await this.#records.close();
  }

  #layer({ id, kind, labels }: SnapshotRecord): Layer {
    return { id, kind, labels, ancestors: this.#records.ancestors(id) };
  }

  async #create(
    kind: 'active' | 'view',
    key: string,
    parent: string,
    labels: Labels,
  ): Promise<readonly StorageMount[]> {
    // Asked before anything is made; the transaction asks again.
    const below = this.#records.checkNew(key, parent);
    const ancestors = below === undefined ? [] : [below.id, ...this.#records.ancestors(below.id)];
    const layer = { id: this.#records.reserveId(), kind, ancestors, labels };
    this.#creating.add(layer.id);
    try {
      await this.#storage.create(layer);
      failpoint('snap.mkdir');
      await this.#records.create({ id: layer.id, kind, key, parent, labels });
    } catch (error) {
      // When the disk failed under it, the record may be there all the same.
      if (this.#records.find(key)?.id !== layer.id) await this.#destroy(layer.id);
      throw fileError(error, `making snapshot "${key}"`);
    } finally {
      this.#creating.delete(layer.id);
    }
    return this.#storage.mounts(layer);
  }

  async #clean(): Promise<void> {
    const stored = await this.#storage.ids();
    // Decided for all at one moment: what is neither recorded nor being made now never will be.
    const recorded = this.#records.ids();
    const leftovers = stored.filter((id) => !recorded.has(id) && !this.#creating.has(id));
    for (const id of leftovers) {
      if (this.#closing) return;
      await this.#destroy(id);
    }
  }

  async #destroy(id: number): Promise<void> {
    try {
      failpoint('snap.rmdir');
      await this.#storage.destroy(id);
    } catch (error) {
      this.#warn(`storage ${id} of a removed snapshot cannot be deleted yet`, error);
    }
  }
}
