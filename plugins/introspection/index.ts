import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { definePlugin, PluginReport } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { persistentId } from './identity.js';
import { introspectionService } from './introspection.js';

/** Tells clients what the daemon is made of. */
export const plugin = definePlugin({
  id: 'introspection',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'introspection' },
  config: noSettings,
  requires: { report: PluginReport, runtimes: Runtimes },
  provides: { service: GrpcServices },
  async start({ deps, rootDir }) {
    const uuid = await persistentId(rootDir());
    return { service: introspectionService(deps.report, deps.runtimes, uuid) };
  },
});
