import { describe, it } from 'node:test';
import { snapshotterConformance } from '../../conformance/snapshotter.js';
import { scratch } from '../../harness/scratch.js';
import { PlainSnapshotter } from './snapshotter.js';

snapshotterConformance(
  { describe, it },
  {
    name: 'written from the contract alone',
    unavailable: async () => undefined,
    can: { rebase: false, renameParentsDirectory: true, writeThroughParentsHardlinks: true, exactTimes: true },
    directory: () => scratch('plain'),
    async open(root) {
      return { snapshotter: await PlainSnapshotter.open(root), close: async () => {} };
    },
  },
);
