import { describe, it } from 'node:test';
import { throughGrpc, throughKernel } from '../../test/conformance/snapshotter.doors.js';
import { snapshotterConformance } from '../../test/conformance/snapshotter.js';
import { scratch } from '../../test/harness/scratch.js';

const PROVIDERS = [
  {
    plugin: 'snapshot-overlay',
    wireId: 'overlayfs',
    can: { rebase: true, renameParentsDirectory: false, writeThroughParentsHardlinks: false, exactTimes: true },
  },
  {
    plugin: 'snapshot-vfs',
    wireId: 'native',
    can: { rebase: false, renameParentsDirectory: true, writeThroughParentsHardlinks: true, exactTimes: true },
  },
] as const;

for (const provider of PROVIDERS) {
  const { plugin, can } = provider;
  const subject = { unavailable: async () => undefined, can, directory: () => scratch(plugin) };
  snapshotterConformance(
    { describe, it },
    { ...subject, name: `${plugin} through a kernel`, open: (root) => throughKernel(provider, root) },
  );
  snapshotterConformance(
    { describe, it },
    {
      ...subject,
      name: `${plugin} over gRPC`,
      open: (root) => throughGrpc(provider, root, can.rebase ? ['rebase'] : []),
    },
  );
}
