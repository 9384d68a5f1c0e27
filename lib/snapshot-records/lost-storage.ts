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
  readonly layerOf: (record: SnapshotRecord) => Layer;
  readonly warn: SnapshotterOptions['warn'];
}

export class LostStorage {
  readonly #options: LostStorageOptions;
  readonly #names: Set<string>;

  /** `ids`: those that storage exists for. */
  constructor(options: LostStorageOptions, ids: readonly number[]) {
    const { records, storage } = options;
    const there = new Set(ids);
    const isLost = (id: number): boolean => !there.has(id) || storage.isWhole?.(id) === false;
    this.#options = options;
    this.#names = new Set(records.active().flatMap(({ id, name }) => (isLost(id) ? [name] : [])));
  }

  /** Makes it again, as new, where nothing below is among `doubtful`; the others have their turn when that is settled. */
  async restore(doubtful: ReadonlySet<number>): Promise<void> {
    const { records, layerOf } = this.#options;
    for (const name of this.#names) {
      const record = records.find(name);
      const layer = record && layerOf(record);
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
      warn(
        `snapshot "${name}" is as new again: its files were lost, as when the machine goes down before they are on disk`,
        undefined,
      );
    } catch (error) {
      warn(`the storage of snapshot "${name}" is missing and cannot be made again: remove the snapshot`, error);
    }
  }
}
