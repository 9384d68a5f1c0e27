import { z } from 'zod';
import { Events } from '../../kernel/contracts/events.js';
import { Runtimes } from '../../kernel/contracts/runtime.js';
import { definePlugin } from '../../kernel/plugin.js';
import { launcherPath } from '../../lib/program.js';
import { ShimRuntime } from './runtime.js';

const seconds = (what: string, value: number) => z.number().positive().default(value).describe(`Seconds ${what}`);

const config = z
  .object({
    names: z
      .array(z.string().min(1))
      .default(['*'])
      .describe('Runtime names served; one that ends in * stands for all that begin so and that nobody else names'),
    address: z
      .string()
      .default('/run/keelson/keelson.sock')
      .describe('Socket of the gRPC server, which shims are told'),
    ttrpc_address: z
      .string()
      .default('/run/keelson/keelson.sock.ttrpc')
      .describe('Socket of the ttrpc server, where shims deliver their events'),
    publish_binary: z
      .string()
      .default('')
      .describe('Program with a publish command, which shims are told; empty: keelsond itself'),
    environment: z.record(z.string(), z.string()).default({}).describe('Variables added to the environment of shims'),
    load_deadline: seconds('a shim may take to start, or to answer a daemon that has started', 5),
    cleanup_deadline: seconds('cleaning up after a shim may take', 5),
    shutdown_deadline: seconds('a shim that is not needed may take to end', 3),
    call_deadline: seconds('any other call may take', 120),
  })
  .strict();

const MILLIS = 1000;

/** Containers by containerd's shims: any program that keeps the shim v2 contract. */
export const plugin = definePlugin({
  id: 'runtime-shim',
  api: 1,
  wire: { type: 'io.containerd.shim.v1', id: 'manager' },
  config,
  requires: { events: Events },
  provides: { runtime: Runtimes },
  async start({ config: settings, deps: { events }, log, stateDir, onStop }) {
    const runtime = await ShimRuntime.open({
      names: settings.names,
      state: stateDir(),
      grpcAddress: settings.address,
      ttrpcAddress: settings.ttrpc_address,
      publishBinary: settings.publish_binary || launcherPath('keelsond'),
      environment: settings.environment,
      loadDeadline: settings.load_deadline * MILLIS,
      cleanupDeadline: settings.cleanup_deadline * MILLIS,
      shutdownDeadline: settings.shutdown_deadline * MILLIS,
      callDeadline: settings.call_deadline * MILLIS,
      events,
      log,
    });
    onStop(() => runtime.close());
    return { runtime };
  },
});
