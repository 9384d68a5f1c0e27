import { Snapshotters } from 'keelson/contracts/snapshots';
import { definePlugin } from 'keelson/plugin';
import { z } from 'zod';
import { openSnapshotter } from './snapshotter.js';
import { zfsMissing } from './zfs.js';

const config = z
  .object({ dataset: z.string().min(1).describe('Dataset below which one is made for each snapshot; it must exist.') })
  .strict();

/** Snapshots as datasets of ZFS: a layer is a clone of the snapshot of its parent. */
export const plugin = definePlugin({
  id: 'snapshot-zfs',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'zfs' },
  config,
  requires: {},
  provides: { snapshotter: Snapshotters },
  async start({ config, log, rootDir, advertise, onStop, skip }) {
    const reason = await zfsMissing();
    if (reason !== undefined) return skip(reason);
    const root = rootDir();
    const snapshotter = await openSnapshotter({
      dataset: config.dataset,
      root,
      warn: (message, error) => log.warn({ err: error }, message),
    });
    onStop(() => snapshotter.close());
    advertise({ capabilities: snapshotter.capabilities, exports: { root, dataset: config.dataset } });
    return { snapshotter };
  },
});

/** What the snapshotter kit asks. Times are what zfs-fuse makes of them. */
export const can = {
  rebase: false,
  renameParentsDirectory: true,
  writeThroughParentsHardlinks: true,
  exactTimes: false,
};
