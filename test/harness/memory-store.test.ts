/** The content store in memory passes the kit of content stores. */
import { describe, it } from 'node:test';
import { contentConformance } from '../conformance/content.js';
import { MemoryStore } from './memory-store.js';

/** Memory outlives what its directory stands for. */
const stores = new Map<string, MemoryStore>();

contentConformance(
  { describe, it },
  {
    name: 'content in memory',
    unavailable: async () => undefined,
    can: {
      resumeAfterRestart: true,
      longDigests: true,
      keepExpectation: true,
      checkPromises: true,
      restartOnNewTotal: true,
      dropKnown: true,
      truncateAnywhere: true,
      readDeleted: true,
      protectLocked: true,
    },
    async open(root) {
      const store = stores.get(root) ?? new MemoryStore();
      stores.set(root, store);
      return { store, close: async () => {} };
    },
  },
);
