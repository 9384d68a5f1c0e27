import { z } from 'zod';
import { Events } from '../../kernel/contracts/events.js';
import { definePlugin } from '../../kernel/plugin.js';
import { listenOnSocket } from '../../lib/rpc/listener.js';
import { createTtrpcServer } from '../../lib/ttrpc/server.js';
import { eventsService } from './events-service.js';

const config = z
  .object({
    address: z
      .string()
      .default('/run/keelson/keelson.sock.ttrpc')
      .describe('path of the unix socket; in a configuration file, that of the gRPC server with .ttrpc appended'),
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
  })
  .strict();

/** The socket at which shims deliver their events. */
export const plugin = definePlugin({
  id: 'server-ttrpc',
  api: 1,
  wire: { type: 'io.containerd.server.v1', id: 'ttrpc' },
  config,
  requires: { events: Events },
  provides: {},
  async start({ config: { address: path, uid, gid }, deps: { events }, log, onStop }) {
    const server = createTtrpcServer([eventsService(events)], (error, method) =>
      log.error({ err: error, method }, 'a call failed'),
    );
    const listener = await listenOnSocket(server.server, { path, uid, gid });
    onStop(async () => {
      await listener.close();
      await server.close();
    });
    log.info({ address: path }, 'serving ttrpc');
    return {};
  },
});
