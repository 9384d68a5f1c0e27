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
import { bootId } from '../boot.js';
import { fileError, whileDoing } from '../errno.js';
import { failpoint } from '../failpoint.js';
import { BackgroundSync, flushFilesystem } from './background-sync.js';
import { LostStorage } from './lost-storage.js';
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
  /** Resolves when all that was written is on disk. Default: the filesystem of the records is flushed. */
  flush?(): Promise<void>;
  /** Deletes what there is of an id; nothing there is fine. `apart`: one of many, so not on the event loop. */
  destroy(id: number, apart?: boolean): Promise<void>;
  /** The ids that storage exists for. */
  ids(): Promise<readonly number[]>;
  /**
   * Whether an active snapshot has what `create` makes last, without which it holds no files yet: a power cut may
   * leave a part. What is not whole is destroyed and made again. Default: it is whole when its id is among `ids`.
   */
  isWhole?(id: number): boolean;
}

export interface SnapshotterOptions {
  /** Directory of the records; the storage has its own opinion about where it lives. */
  readonly root: string;
  readonly storage: SnapshotStorage;
  /** Told when leftovers cannot be deleted now; the next `cleanup` tries again. */
  readonly warn: (message: string, error: unknown) => void;
  /** What the contract says of it. */
  readonly staging?: string;
}

export interface CommitOptions {
  readonly labels?: Labels;
  readonly parent?: string;
  readonly usage?: SnapshotUsage;
}

export interface PrepareOptions {
  readonly onDisk?: (flushed: Promise<void>) => void;
}

export interface ViewOptions {
  readonly lasting?: boolean;
}

/** What the contract says about a snapshot. */
export type StoredInfo = Omit<SnapshotRecord, 'id' | 'usage'>;

const infoOf = ({ id: _id, usage: _usage, ...info }: SnapshotRecord): StoredInfo => info;

/** Storage looked at in one go. */
const PAGE = 200;
/** So many leftovers are worth no thread. */
const FEW = 8;

/** Implements the contract `Snapshotter` over a {@link SnapshotStorage}. */
export class StoredSnapshotter {
  readonly capabilities: readonly string[];
  readonly staging?: string;
  readonly #records: SnapshotRecords;
  readonly #storage: SnapshotStorage;
  readonly #warn: SnapshotterOptions['warn'];
  /** Ids whose storage is being made and whose record is still to come. */
  readonly #creating = new Set<number>();
  readonly #boot = bootId();
  readonly #sync: BackgroundSync;
  /** Names, parents first. */
  readonly #doubtful: Set<string>;
  readonly #lost: LostStorage;
  #cleaning: Promise<void> = Promise.resolve();
  #closing = false;

  private constructor(
    { root, storage, warn, staging }: SnapshotterOptions,
    records: SnapshotRecords,
    ids: readonly number[],
  ) {
    this.capabilities = storage.capabilities;
    if (staging !== undefined) this.staging = staging;
    this.#doubtful = new Set(records.unsynced().flatMap(({ name, boot }) => (boot === this.#boot ? [] : [name])));
    this.#sync = new BackgroundSync({
      flush: () => storage.flush?.() ?? flushFilesystem(root),
      pending: () => records.unsynced().flatMap(({ id, boot }) => (boot === this.#boot ? [id] : [])),
      done: (ids) => records.markSynced(ids),
      warn,
    });
    this.#records = records;
    this.#storage = storage;
    this.#warn = warn;
    this.#lost = new LostStorage({ records, storage, warn, layerOf: (record) => this.#layer(record) }, ids);
  }

  /** Opens what is at `root` or starts anew, and deletes leftovers in the background. Errors of {@link SnapshotRecords.open}. */
  static async open(options: SnapshotterOptions): Promise<StoredSnapshotter> {
    const { storage, warn } = options;
    const records = await SnapshotRecords.open(join(options.root, 'metadata.db'), (message) =>
      warn(message, undefined),
    );
    let snapshotter: StoredSnapshotter;
    try {
      const ids = await storage.ids();
      for (const id of ids) records.skipId(id);
      snapshotter = new StoredSnapshotter(options, records, ids);
      await snapshotter.#restoreLost();
    } catch (error) {
      await records.close();
      throw error;
    }
    snapshotter.#sync.wake();
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

  async prepare(
    key: string,
    parent: string,
    labels: Labels = {},
    { onDisk }: PrepareOptions = {},
  ): Promise<readonly StorageMount[]> {
    const mounts = await this.#create('active', key, parent, labels, onDisk === undefined);
    onDisk?.(this.#records.flushed());
    return mounts;
  }

  view(
    key: string,
    parent: string,
    labels: Labels = {},
    { lasting = true }: ViewOptions = {},
  ): Promise<readonly StorageMount[]> {
    return this.#create('view', key, parent, labels, lasting);
  }

  async commit(name: string, key: string, { labels = {}, parent = '', ...known }: CommitOptions = {}): Promise<void> {
    const record = this.#records.checkCommit(name, key, parent);
    if (parent !== '' && parent !== record.parent && !this.capabilities.includes('rebase')) {
      throw unimplemented(`snapshot "${key}" cannot get parent "${parent}": this snapshotter cannot rebase`);
    }
    const layer = this.#layer(record);
    const usage = known.usage ?? (await whileDoing(`committing snapshot "${key}"`, this.#storage.measure(layer)));
    failpoint('snap.measure');
    await this.#records.commit({ name, key, labels, usage, parent, boot: this.#boot });
    this.#sync.wake();
    try {
      await this.#storage.freeze?.(layer);
    } catch (error) {
      this.#warn(`snapshot "${name}" is committed, but its storage cannot be made read-only`, error);
    }
  }

  /** Committed snapshots that were not known to be on disk when the machine went down, parents first. */
  unsynced(): readonly string[] {
    return [...this.#doubtful];
  }

  /** Committed snapshots that are not known to be on disk now, parents first. */
  unflushed(): readonly string[] {
    return this.#records.unsynced().map(({ name }) => name);
  }

  /**
   * Makes the files of a committed snapshot again, in their place: `fill` writes what it
   * adds to its parent through mounts as `prepare` gives them. A failure may be tried again.
   */
  async rebuild(name: string, fill: (mounts: readonly StorageMount[]) => Promise<void>): Promise<void> {
    const record = this.#records.get(name);
    const layer: Layer = { ...this.#layer(record), kind: 'active' };
    await this.#storage.destroy(record.id);
    await this.#storage.create(layer);
    await fill(this.#storage.mounts(layer));
    await this.#storage.freeze?.(layer);
    await this.#sync.flush();
    await this.#records.markSynced([record.id]);
    // Before the doubt is over: who waits for its end gets mounts.
    await this.#restoreLost();
    this.#doubtful.delete(name);
  }

  async remove(key: string): Promise<void> {
    await this.#records.remove(key);
    this.#doubtful.delete(key);
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
    await this.#sync.close();
    await this.#records.close();
  }

  #restoreLost(): Promise<void> {
    const doubtful = this.#records.unsynced().filter(({ name }) => this.#doubtful.has(name));
    return this.#lost.restore(new Set(doubtful.map(({ id }) => id)));
  }

  #layer({ id, kind, labels }: SnapshotRecord): Layer {
    return { id, kind, labels, ancestors: this.#records.ancestors(id) };
  }

  async #create(
    kind: 'active' | 'view',
    key: string,
    parent: string,
    labels: Labels,
    durable: boolean,
  ): Promise<readonly StorageMount[]> {
    // Asked before anything is made; the transaction asks again.
    const below = this.#records.checkNew(key, parent);
    const ancestors = below === undefined ? [] : [below.id, ...this.#records.ancestors(below.id)];
    const layer = { id: this.#records.reserveId(), kind, ancestors, labels };
    this.#creating.add(layer.id);
    try {
      await this.#storage.create(layer);
      failpoint('snap.mkdir');
      await this.#records.create({ id: layer.id, kind, key, parent, labels }, durable);
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
    let destroyed = 0;
    for (const [index, id] of (await this.#storage.ids()).entries()) {
      if (index % PAGE === 0) await new Promise((resolve) => setImmediate(resolve));
      if (this.#closing) return;
      // What is neither recorded nor being made now never will be.
      if (this.#creating.has(id) || this.#records.has(id)) continue;
      await this.#destroy(id, destroyed >= FEW);
      destroyed += 1;
    }
  }

  async #destroy(id: number, apart = false): Promise<void> {
    try {
      failpoint('snap.rmdir');
      await this.#storage.destroy(id, apart);
    } catch (error) {
      this.#warn(`storage ${id} of a removed snapshot cannot be deleted yet`, error);
    }
  }
}
