/** The runtime-shim plugin's runtime on a stock shim as a subject of the runtime kit, with the socket for its events. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Events } from '../../kernel/contracts/events.js';
import { listenOnSocket } from '../../lib/rpc/listener.js';
import { createTtrpcServer } from '../../lib/ttrpc/server.js';
import { ShimRuntime, type ShimRuntimeOptions } from '../../plugins/runtime-shim/runtime.js';
import { eventsService } from '../../plugins/server-ttrpc/events-service.js';
import type { OpenRuntime, RuntimeSubject } from '../conformance/runtime.js';
import { scratch } from './scratch.js';

const log = pino({ level: process.env.KEELSON_TEST_LOG ?? 'silent' }, pino.destination({ dest: 2, sync: true }));

export type ShimOverrides = Partial<Omit<ShimRuntimeOptions, 'state' | 'events' | 'log'>>;

/** The runtime with its state in that directory, and the ttrpc server that its shims deliver events to. */
export async function openShimRuntime(
  directory: string,
  events: Events,
  overrides: ShimOverrides = {},
): Promise<OpenRuntime & { readonly runtime: ShimRuntime }> {
  const server = createTtrpcServer([eventsService(events)], (err, method) => log.error({ err, method }, 'not taken'));
  const ttrpcAddress = join(directory, 't.sock');
  const listener = await listenOnSocket(server.server, { path: ttrpcAddress, uid: 0, gid: 0 });
  const runtime = await ShimRuntime.open({
    names: ['*'],
    state: directory,
    grpcAddress: join(directory, 'none.sock'),
    ttrpcAddress,
    publishBinary: '/bin/true',
    environment: {},
    loadDeadline: 5000,
    cleanupDeadline: 5000,
    shutdownDeadline: 3000,
    callDeadline: 30_000,
    ...overrides,
    events,
    log,
  });
  const close = async (): Promise<void> => {
    await runtime.close();
    await listener.close();
    await server.close();
  };
  return { runtime, close };
}

export const stockShimSubject = (overrides: ShimOverrides = {}): RuntimeSubject => ({
  name: "runtime-shim with Debian's containerd-shim-runc-v2",
  runtimeName: 'io.containerd.runc.v2',
  async unavailable() {
    if (process.getuid?.() !== 0) return 'needs root';
    const needs = ['/usr/bin/containerd-shim-runc-v2', '/usr/bin/busybox'].find((path) => !existsSync(path));
    return needs && `needs ${needs}`;
  },
  can: {
    outliveReader: true,
    keepUnreadOutput: false,
    replayExits: false,
    startWithoutReader: false,
    resizeBeforeStart: false,
    checkpoint: true,
    reattachTerminal: false,
  },
  directory: () => scratch('shim'),
  open: (directory, events) => openShimRuntime(directory, events, overrides),
});
