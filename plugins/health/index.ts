import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { healthService } from './health.js';

/** Answers whether the daemon serves; it does whenever it answers. */
export const plugin = definePlugin({
  id: 'health',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'healthcheck' },
  config: noSettings,
  requires: {},
  provides: { service: GrpcServices },
  start: async () => ({ service: healthService() }),
});
