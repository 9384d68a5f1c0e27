import { z } from 'zod';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { definePlugin, PluginReport } from '../../kernel/plugin.js';
import { GrpcServer } from './server.js';

const MIB = 1024 * 1024;

const config = z
  .object({
    address: z.string().default('/run/keelson/keelson.sock').describe('path of the unix socket'),
    uid: z
      .int()
      .min(0)
      .default(() => process.geteuid?.() ?? 0)
      .describe('user that owns the socket; by default the one the daemon runs as'),
    gid: z
      .int()
      .min(0)
      .default(() => process.getegid?.() ?? 0)
      .describe('group that may use the socket; by default the one the daemon runs as'),
    max_recv_message_size: z
      .int()
      .positive()
      .default(16 * MIB)
      .describe('bytes of the largest request'),
    max_send_message_size: z
      .int()
      .positive()
      .default(16 * MIB)
      .describe('bytes of the largest response'),
    drain_timeout: z
      .int()
      .min(0)
      .default(2000)
      .describe('milliseconds that calls get to end when the daemon, or the plugin they call, stops'),
  })
  .strict();

/** Serves every registered gRPC service on a unix socket. */
export const plugin = definePlugin({
  id: 'server-grpc',
  api: 1,
  wire: { type: 'io.containerd.server.v1', id: 'grpc' },
  config,
  requires: { services: GrpcServices, report: PluginReport },
  provides: {},
  async start({ config, deps, log, onStop }) {
    const limits = {
      maxReceive: config.max_recv_message_size,
      maxSend: config.max_send_message_size,
      drain: config.drain_timeout,
    };
    const isExpected = (id: string): boolean =>
      deps.report.plugins().some(({ wire, outcome }) => wire?.id === id && outcome === undefined);
    const server = new GrpcServer({ services: deps.services, isExpected, limits, log });
    onStop(() => server.stop());
    await server.start({ path: config.address, uid: config.uid, gid: config.gid });
    log.info({ address: config.address, services: [...deps.services.keys()] }, 'serving gRPC');
    return {};
  },
});
