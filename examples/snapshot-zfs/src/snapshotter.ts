import type { Snapshotter } from 'keelson/contracts/snapshots';
import { failedPrecondition } from 'keelson/errors';
import { StoredSnapshotter } from 'keelson/snapshot-records';
import { ZfsStorage } from './storage.js';
import { exists } from './zfs.js';

export interface ZfsOptions {
  /** Must exist. */
  readonly dataset: string;
  /** Directory for the records and the mount points. */
  readonly root: string;
  /** Told when something cannot be deleted now. */
  readonly warn: (message: string, error: unknown) => void;
}

/** Opens the snapshots of a dataset, or starts anew. FAILED_PRECONDITION without the dataset. `close` it in the end. */
export async function openSnapshotter(options: ZfsOptions): Promise<Snapshotter & { close(): Promise<void> }> {
  const { dataset, root, warn } = options;
  if (!(await exists(dataset))) {
    const remedy = `create it with "zfs create -o mountpoint=none ${dataset}", or change "dataset"`;
    throw failedPrecondition(`dataset "${dataset}" does not exist`, { remedy });
  }
  const storage = new ZfsStorage(dataset, root);
  await storage.prepare();
  return StoredSnapshotter.open({ root, storage, warn });
}
