/** Content that never touches a disk. */
import { z } from 'zod';
import { ContentStore } from '../../../kernel/contracts/content.js';
import { definePlugin } from '../../../kernel/plugin.js';
import { MemoryStore } from '../../harness/memory-store.js';

/** Under the name of the store that it takes the place of. */
export const plugin = definePlugin({
  id: 'memory-content',
  api: 1,
  wire: { type: 'io.containerd.content.v1', id: 'content' },
  config: z.object({}).strict(),
  requires: {},
  provides: { store: ContentStore },
  start: async () => ({ store: new MemoryStore() }),
});
