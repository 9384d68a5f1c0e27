import { describe, it } from 'node:test';
import { snapshotterConformance } from '../../test/conformance/snapshotter.js';
import { scratch } from '../../test/harness/scratch.js';
import { openOverlay } from './overlay.js';
import { probe } from './probe.js';

snapshotterConformance(
  { describe, it },
  {
    name: 'snapshot-overlay',
    async unavailable() {
      await using directory = await scratch('overlay');
      const outcome = await probe(directory.path);
      await outcome.cleared;
      return outcome.works ? undefined : outcome.reason;
    },
    can: { rebase: true, renameParentsDirectory: false, writeThroughParentsHardlinks: false, exactTimes: true },
    directory: () => scratch('overlay'),
    async open(root) {
      const snapshotter = await openOverlay(root, { options: ['index=off'], warn: () => undefined });
      return { snapshotter, close: () => snapshotter.close() };
    },
  },
);
