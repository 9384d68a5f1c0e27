import { Snapshotters } from 'keelson/contracts/snapshots';
import { definePlugin } from 'keelson/plugin';
import { z } from 'zod';
import { openSnapshotter } from './snapshotter.js';

/** Snapshots as directories, each a full copy of its parent. */
export const plugin = definePlugin({
  id: 'snapshot-copy',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'copy' },
  config: z
    .object({ reflink: z.boolean().default(true).describe('Share blocks with the parent where the filesystem can.') })
    .strict(),
  requires: {},
  provides: { snapshotter: Snapshotters },
  async start({ config, log, rootDir, advertise, onStop }) {
    const root = rootDir();
    const warn = (message: string, error: unknown): void => log.warn({ err: error }, message);
    const snapshotter = await openSnapshotter({ root, reflink: config.reflink, warn });
    onStop(() => snapshotter.close());
    advertise({ capabilities: snapshotter.capabilities, exports: { root } });
    return { snapshotter };
  },
});

/** What the kit asks: see `SnapshotterSubject` of keelson/conformance/snapshotter. */
export const can = {
  rebase: false,
  renameParentsDirectory: true,
  writeThroughParentsHardlinks: true,
  exactTimes: true,
};
