import { z } from 'zod';
import { Containers } from '../../kernel/contracts/containers.js';
import { Content } from '../../kernel/contracts/content.js';
import { Diff } from '../../kernel/contracts/diff.js';
import { Events } from '../../kernel/contracts/events.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Images } from '../../kernel/contracts/images.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { Tasks } from '../../kernel/contracts/tasks.js';
import { definePlugin } from '../../kernel/plugin.js';
import { contentService } from './content.js';
import { executionService } from './execution.js';
import { imagesService } from './images.js';
import { rootfsService } from './rootfs.js';
import { scopeIn } from './scope.js';

const config = z
  .object({
    namespace: z.string().default('default').describe('in which a caller works that names none'),
    snapshotter: z.string().optional().describe('that unpacks layers; by default the first one that runs'),
    runtime: z.string().default('io.containerd.runc.v2').describe('of containers that name none, or "linux"'),
  })
  .strict();

/** The API of April 2017: four services of thin skins over the contracts of today. */
export const plugin = definePlugin({
  id: 'api-classic',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'classic' },
  config,
  requires: {
    containers: Containers,
    content: Content,
    diff: Diff,
    events: Events,
    images: Images,
    snapshots: Snapshots,
    tasks: Tasks,
  },
  provides: { services: GrpcServices },
  async start({ config, deps, log }) {
    const scopeOf = scopeIn(config.namespace);
    const services = [
      contentService(deps.content, scopeOf),
      imagesService(deps.images, scopeOf),
      rootfsService({ ...deps, scopeOf, snapshotter: config.snapshotter }),
      executionService({ ...deps, scopeOf, runtime: config.runtime, log }),
    ];
    return { services };
  },
});
