import { describe, it } from 'node:test';
import { contentConformance } from '../../test/conformance/content.js';
import { LocalStore } from './store.js';

contentConformance(
  { describe, it },
  {
    name: 'content',
    unavailable: async () => undefined,
    can: { resumeAfterRestart: true, longDigests: true },
    open: async (root) => ({ store: await LocalStore.open(root), close: async () => undefined }),
  },
);
