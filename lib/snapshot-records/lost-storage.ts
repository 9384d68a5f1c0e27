/**
 * Snapshots being written whose storage is gone although their record is there. A new directory is on
 * disk once its filesystem commits, the record once the database is flushed, and a power cut may come
 * between the two. Nothing that was flushed is lost with it: to flush a file keeps the directories above it.
 */
import type { SnapshotRecord, SnapshotRecords } from './records.js';
import type { Layer, SnapshotStorage, SnapshotterOptions } from './snapshotter.js';

export interface LostStorageOptions {
  readonly records: SnapshotRecords;
  readonly storage: SnapshotStorage;
  readonly warn: SnapshotterOptions['warn'];
}

export class LostStorage {
  readonly #options: LostStorageOptions;
  readonly #names = new Set<string>();

  private constructor(options: LostStorageOptions) {
    this.#options = options;
  }

  /** `ids`: those that storage exists for. */
  static find(options: LostStorageOptions, ids: readonly number[]): LostStorage {
    const lost = new LostStorage(options);
    const { records, storage } = options;
    const there = new Set(ids);
    for (const record of records.writable()) {
      const isThere = there.has(record.id) && (storage.isWhole?.(lost.#layer(record)) ?? true);
      if (!isThere) lost.#names.add(record.name);
    }
    return lost;
  }

  /** Makes it again, as new, where nothing below is among `doubtful`; those come when that is settled. */
  async restore(doubtful: ReadonlySet<number>): Promise<void> {
    for (const name of this.#names) {
      const record = this.#options.records.find(name);
      const layer = record && this.#layer(record);
      if (layer?.ancestors.some((id) => doubtful.has(id))) continue;
      this.#names.delete(name);
      if (layer?.kind === 'active') await this.#make(name, layer);
    }
  }

  async #make(name: string, layer: Layer): Promise<void> {
    const { storage, warn } = this.#options;
    try {
      await storage.destroy(layer.id);
      await storage.create(layer);
      warn(`snapshot "${name}" is as new again: its files were not on disk when the machine went down`, undefined);
    } catch (error) {
      warn(`the storage of snapshot "${name}" is missing and cannot be made again: remove the snapshot`, error);
    }
  }

  #layer({ id, kind, labels }: SnapshotRecord): Layer {
    return { id, kind, labels, ancestors: this.#options.records.ancestors(id) };
  }
}
