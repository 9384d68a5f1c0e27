import { mkdirSync } from 'node:fs';
import { z } from 'zod';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { isBtrfs } from '../../lib/linux/btrfs.js';
import { formatPlatform, hostPlatform } from '../../lib/oci/platform.js';
import { openBtrfs } from './btrfs.js';

const config = z
  .object({
    root_path: z.string().default('').describe('Directory for the snapshots, on btrfs; empty for the own one.'),
  })
  .strict();

/** Snapshots as subvolumes of btrfs, which share what they have in common. */
export const plugin = definePlugin({
  id: 'snapshot-btrfs',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'btrfs' },
  config,
  requires: {},
  provides: { snapshotter: Snapshotters },
  async start({ config, log, rootDir, advertise, onStop, skip }) {
    const root = config.root_path === '' ? rootDir() : config.root_path;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    if (!isBtrfs(root)) return skip(`"${root}" is not on btrfs`);
    const snapshotter = await openBtrfs(root, { warn: (message, error) => log.warn({ err: error }, message) });
    onStop(() => snapshotter.close());
    advertise({
      capabilities: snapshotter.capabilities,
      exports: { root },
      platforms: [formatPlatform(hostPlatform())],
    });
    return { snapshotter };
  },
});
