import { z } from 'zod';
import { Content } from '../../kernel/contracts/content.js';
import { Differs } from '../../kernel/contracts/diff.js';
import { definePlugin } from '../../kernel/plugin.js';
import { formatPlatform, hostPlatform } from '../../lib/oci/platform.js';
import { WalkingDiffer } from './differ.js';
import { WorkerPool } from './pool.js';
import { freshMountDirectory } from './target.js';

const config = z
  .object({
    workers: z
      .number()
      .int()
      .min(0)
      .default(0)
      .describe('Threads that unpack layers; 0 for one more than the machine has cores.'),
    max_layer_bytes: z
      .number()
      .int()
      .positive()
      .default(256 * 2 ** 30)
      .describe('Uncompressed bytes that a layer may have.'),
    max_layer_ratio: z
      .number()
      .positive()
      .default(1000)
      .describe('How many times its compressed size a layer may take, once it takes more than 64 MiB.'),
    max_layer_inodes: z.number().int().positive().default(10_000_000).describe('Entries that a layer may have.'),
  })
  .strict();

/** Unpacks layers into snapshots, and makes layers of what changed. */
export const plugin = definePlugin({
  id: 'diff',
  api: 1,
  wire: { type: 'io.containerd.differ.v1', id: 'walking' },
  config,
  requires: { content: Content },
  provides: { differ: Differs },
  async start({ config, deps, log, stateDir, advertise, onStop }) {
    const pool = new WorkerPool(log, config.workers === 0 ? undefined : config.workers);
    onStop(() => pool.close());
    const mountDirectory = await freshMountDirectory(stateDir());
    const differ = new WalkingDiffer({
      pool,
      // Few daemons ever make a layer: what it takes is loaded for the first.
      comparer: async () => {
        const { LayerComparer } = await import('./compare/compare.js');
        return new LayerComparer(deps.content, mountDirectory);
      },
      mountDirectory,
      limits: { bytes: config.max_layer_bytes, ratio: config.max_layer_ratio, inodes: config.max_layer_inodes },
    });
    advertise({ platforms: [formatPlatform(hostPlatform())] });
    return { differ };
  },
});
