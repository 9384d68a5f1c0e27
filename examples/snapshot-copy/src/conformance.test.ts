import { describe, it } from 'node:test';
import { snapshotterConformance } from 'keelson/conformance/snapshotter';
import { scratch } from 'keelson/testing';
import { can } from './index.js';
import { openSnapshotter } from './snapshotter.js';

snapshotterConformance(
  { describe, it },
  {
    name: 'snapshot-copy',
    unavailable: async () => (process.getuid?.() === 0 ? undefined : 'needs root: it mounts'),
    can,
    directory: () => scratch('snapshot-copy'),
    async open(root) {
      const snapshotter = await openSnapshotter({ root, reflink: true, warn: () => undefined });
      return { snapshotter, close: () => snapshotter.close() };
    },
  },
);
