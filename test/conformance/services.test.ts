/** Every plugin of the tree that serves gRPC passes the kit of services, on what it stands on in the tree. */
import { describe, it } from 'node:test';
import { builtins } from '../../config/builtins.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { tokensOf } from '../../kernel/plan.js';
import type { Plugin } from '../../kernel/plugin.js';
import { providersFor } from './providers.js';
import { serviceConformance } from './service.js';

const tree: readonly Plugin[] = await Promise.all(Object.values(builtins).map(async (load) => (await load()).plugin));
const services = tree.filter(({ provides }) => tokensOf(provides).some(({ id }) => id === GrpcServices.id));

for (const plugin of services) {
  const beside = await providersFor(plugin);
  serviceConformance({ describe, it }, { name: plugin.id, unavailable: async () => undefined, plugin, beside });
}
