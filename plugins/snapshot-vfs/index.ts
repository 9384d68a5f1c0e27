import { mkdirSync } from 'node:fs';
import { z } from 'zod';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { formatPlatform, hostPlatform } from '../../lib/oci/platform.js';
import { openVfs } from './vfs.js';

const config = z
  .object({
    root_path: z.string().default('').describe('Directory for the snapshots; empty for the own one.'),
  })
  .strict();

/** Snapshots as plain directories, each a whole copy of its parent: works on any filesystem, shares nothing. */
export const plugin = definePlugin({
  id: 'snapshot-vfs',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'native' },
  config,
  requires: {},
  provides: { snapshotter: Snapshotters },
  async start({ config, log, rootDir, advertise, onStop }) {
    const root = config.root_path === '' ? rootDir() : config.root_path;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    const snapshotter = await openVfs(root, { warn: (message, error) => log.warn({ err: error }, message) });
    onStop(() => snapshotter.close());
    advertise({
      capabilities: snapshotter.capabilities,
      exports: { root },
      platforms: [formatPlatform(hostPlatform())],
    });
    return { snapshotter };
  },
});
