import { z } from 'zod';
import { Containers } from '../../kernel/contracts/containers.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { Tasks } from '../../kernel/contracts/tasks.js';
import { definePlugin } from '../../kernel/plugin.js';
import { TaskDirectory } from './tasks.js';

/** Tasks of containers, whatever runtime runs them. */
export const plugin = definePlugin({
  id: 'tasks',
  api: 1,
  wire: { type: 'io.containerd.service.v1', id: 'tasks-service' },
  config: z.object({}).strict(),
  requires: { containers: Containers, runtimes: Runtimes },
  provides: { tasks: Tasks },
  start: async ({ deps: { containers, runtimes } }) => ({ tasks: new TaskDirectory(containers, runtimes) }),
});
