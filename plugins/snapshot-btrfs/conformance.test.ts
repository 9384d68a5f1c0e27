import { describe, it } from 'node:test';
import { snapshotterConformance } from '../../test/conformance/snapshotter.js';
import { filesystemMissing, loopFilesystem } from '../../test/harness/loop.js';
import { openBtrfs } from './btrfs.js';

snapshotterConformance(
  { describe, it },
  {
    name: 'snapshot-btrfs',
    unavailable: () => filesystemMissing('btrfs'),
    can: { rebase: false, renameParentsDirectory: true, writeThroughParentsHardlinks: true, exactTimes: true },
    directory: () => loopFilesystem('btrfs'),
    async open(root) {
      const snapshotter = await openBtrfs(root, { warn: () => undefined });
      return { snapshotter, close: () => snapshotter.close() };
    },
  },
);
