import { mkdirSync } from 'node:fs';
import { z } from 'zod';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { formatPlatform, hostPlatform } from '../../lib/oci/platform.js';
import { OverlayStorage, openOverlay } from './overlay.js';
import { clearFormer, probe } from './probe.js';
import { RememberedProbe } from './remembered.js';

const config = z
  .object({
    root_path: z
      .string()
      .default('')
      .describe(
        'Directory for the snapshots, on a filesystem that can hold overlay upper directories; empty for the own one.',
      ),
    mount_options: z
      .array(z.string())
      .default([])
      .describe('Options added to every overlay mount, for example "volatile"; bind mounts do not get them.'),
  })
  .strict();

/** Snapshots as overlay mounts: each layer a directory, nothing copied until written to. */
export const plugin = definePlugin({
  id: 'snapshot-overlay',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'overlayfs' },
  config,
  requires: {},
  provides: { snapshotter: Snapshotters },
  async start({ config, log, rootDir, stateDir, advertise, onStop, skip }) {
    const root = config.root_path === '' ? rootDir() : config.root_path;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    await clearFormer(root);
    const remembered = new RememberedProbe(stateDir(), root);
    const probed = async (): Promise<readonly string[]> => {
      const overlay = await probe(root);
      const cleared = overlay.cleared.catch((error: unknown) => log.warn({ err: error }, 'cannot clear up the probe'));
      onStop(() => cleared);
      if (!overlay.works) return skip(overlay.reason);
      remembered.keep(overlay.options);
      return overlay.options;
    };
    const snapshotter = await openOverlay(root, {
      options: OverlayStorage.combine(config.mount_options, remembered.options ?? (await probed())),
      warn: (message, error) => log.warn({ err: error }, message),
    });
    onStop(() => snapshotter.close());
    advertise({
      capabilities: snapshotter.capabilities,
      exports: { root },
      platforms: [formatPlatform(hostPlatform())],
    });
    return { snapshotter };
  },
});
