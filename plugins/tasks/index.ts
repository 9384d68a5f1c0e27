import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Containers } from '../../kernel/contracts/containers.js';
import { Content } from '../../kernel/contracts/content.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { Tasks } from '../../kernel/contracts/tasks.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { Checkpoints } from './checkpoints.js';
import { TaskDirectory } from './tasks.js';

/** Tasks of containers, whatever runtime runs them. */
export const plugin = definePlugin({
  id: 'tasks',
  api: 1,
  wire: { type: 'io.containerd.service.v1', id: 'tasks-service' },
  config: noSettings,
  requires: { containers: Containers, content: Content, runtimes: Runtimes },
  provides: { tasks: Tasks },
  async start({ deps: { containers, content, runtimes }, stateDir }) {
    const images = join(stateDir(), 'checkpoints');
    if (existsSync(images)) await rm(images, { recursive: true, force: true });
    return { tasks: new TaskDirectory(containers, runtimes, new Checkpoints(content, images)) };
  },
});
