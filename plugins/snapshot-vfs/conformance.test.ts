import { describe, it } from 'node:test';
import { snapshotterConformance } from '../../test/conformance/snapshotter.js';
import { scratch } from '../../test/harness/scratch.js';
import { openVfs } from './vfs.js';

snapshotterConformance(
  { describe, it },
  {
    name: 'snapshot-vfs',
    unavailable: async () => undefined,
    can: { rebase: false, renameParentsDirectory: true, writeThroughParentsHardlinks: true, exactTimes: true },
    directory: () => scratch('vfs'),
    async open(root) {
      const snapshotter = await openVfs(root, { warn: () => undefined });
      return { snapshotter, close: () => snapshotter.close() };
    },
  },
);
