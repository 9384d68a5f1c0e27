/**
 * A shim of no substance, for what Debian's does not speak: its containers are
 * words in its memory. `SCRIPTED_SHIM` names its generation; further
 * variables as ShimRuntime gives them. Run as containerd runs shims.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type handleUnaryCall, Server, ServerCredentials, type UntypedHandleCall } from '@grpc/grpc-js';
import { TaskExit } from '../../api/gen/events/task.js';
import { BootstrapParams, BootstrapResult } from '../../api/gen/runtime/bootstrap.js';
import { DeleteResponse, TaskDefinition } from '../../api/gen/runtime/task-v3.js';
import { EventsDefinition } from '../../api/gen/services/events-ttrpc.js';
import { Status } from '../../api/gen/types/task.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Handlers, ServiceImplementation } from '../../lib/rpc/definition.js';
import { now, toTimestamp } from '../../lib/rpc/timestamp.js';
import { TtrpcClient } from '../../lib/ttrpc/client.js';
import { createTtrpcServer } from '../../lib/ttrpc/server.js';

/** Input, output and speech of each. */
const GENERATIONS = {
  plain: { version: 2, protocol: 'ttrpc', params: false },
  json: { version: 3, protocol: 'ttrpc', params: false },
  'json-grpc': { version: 3, protocol: 'grpc', params: false },
  bootstrap: { version: 3, protocol: 'ttrpc', params: true },
  'bootstrap-grpc': { version: 3, protocol: 'grpc', params: true },
} as const;

export type Generation = keyof typeof GENERATIONS;

const isGeneration = (name: string): name is Generation => Object.hasOwn(GENERATIONS, name);

const PID = 4242;
const KILLED = 137;

function handlers(namespace: string, end: () => void): Partial<Handlers<typeof TaskDefinition>> {
  let status: Status = Status.UNKNOWN;
  const exited = Promise.withResolvers<void>();
  const exit = { pid: PID, exitStatus: KILLED, exitedAt: toTimestamp(now()) };
  const tellExit = async (id: string): Promise<void> => {
    const client = await TtrpcClient.connect(process.env.TTRPC_ADDRESS ?? '');
    const event = packAny(TaskExit, { containerId: id, id, ...exit });
    const envelope = { timestamp: toTimestamp(now()), namespace, topic: '/tasks/exit', event };
    await client.stub(EventsDefinition).forward({ envelope });
    client.close();
  };
  return {
    connect: async () => ({ shimPid: process.pid, taskPid: PID, version: '' }),
    async create({ options }) {
      if (options?.typeUrl !== 'scripted.Options') throw new Error(`options are ${options?.typeUrl}`);
      status = Status.CREATED;
      return { pid: PID };
    },
    async start() {
      status = Status.RUNNING;
      return { pid: PID };
    },
    async state({ id, execId }) {
      const streams = { stdin: '', stdout: '', stderr: '', terminal: false };
      return { id, execId, bundle: '', pid: PID, status, ...streams, exitStatus: KILLED, exitedAt: exit.exitedAt };
    },
    async kill({ id }) {
      status = Status.STOPPED;
      await tellExit(id);
      exited.resolve();
      return {};
    },
    async wait() {
      await exited.promise;
      return exit;
    },
    delete: async () => exit,
    async shutdown() {
      setImmediate(end);
      return {};
    },
  };
}

function grpcServer(namespace: string, end: () => void): Server {
  const served = handlers(namespace, end);
  const server = new Server();
  const methods = Object.entries(TaskDefinition.methods).filter(([key]) => Object.hasOwn(served, key));
  const definition = methods.map(([key, { name, requestType, responseType }]) => [
    key,
    {
      path: `/${TaskDefinition.fullName}/${name}`,
      requestStream: false,
      responseStream: false,
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: (bytes: Buffer) => requestType.decode(bytes),
      responseSerialize: (message: never) => Buffer.from(responseType.encode(message).finish()),
      responseDeserialize: () => undefined,
    },
  ]);
  const implementation = methods.map(([key]): [string, UntypedHandleCall] => {
    const handler = Object.entries(served).find(([name]) => name === key)?.[1];
    // biome-ignore lint/suspicious/noExplicitAny: what a method takes is known by its codec alone
    const unary: handleUnaryCall<any, unknown> = (call, done) => {
      Promise.try(() => handler?.(call.request as never, undefined as never)).then(
        (message) => done(null, message),
        (error: Error) => done(error),
      );
    };
    return [key, unary];
  });
  server.addService(Object.fromEntries(definition), Object.fromEntries(implementation));
  return server;
}

/** Serves until it is shut down. */
async function serve(generation: Generation, socket: string, namespace: string): Promise<void> {
  const end = (): never => process.exit(0);
  if (GENERATIONS[generation].protocol === 'grpc') {
    const server = grpcServer(namespace, end);
    await new Promise((resolve) => server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), resolve));
  } else {
    const { fullName } = TaskDefinition;
    const name = generation === 'plain' ? fullName.replace('v3', 'v2') : fullName;
    const definition = { ...TaskDefinition, fullName: name };
    const service: ServiceImplementation = { definition, handlers: { ...handlers(namespace, end) } };
    const { server } = createTtrpcServer([service], () => undefined);
    await new Promise<void>((resolve) => server.listen(socket, resolve));
  }
  process.send?.('ready');
  process.disconnect?.();
}

/** Starts what serves, as a process of its own, and says where. */
async function start(generation: Generation, socket: string, namespace: string): Promise<string | Uint8Array> {
  const { version, protocol, params } = GENERATIONS[generation];
  const input = readFileSync(0);
  if (params && BootstrapParams.decode(input).namespace !== namespace) throw new Error('these are no BootstrapParams');
  const server = spawn(process.execPath, [import.meta.filename, 'serve', generation, socket, namespace], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  await once(server, 'message');
  server.disconnect();
  server.unref();
  const address = `unix://${socket}`;
  if (generation === 'plain') return address;
  if (params) return BootstrapResult.encode(BootstrapResult.fromPartial({ version, address, protocol })).finish();
  return JSON.stringify({ version, address, protocol });
}

async function main(args: readonly string[]): Promise<void> {
  const generation = process.env.SCRIPTED_SHIM ?? args[1] ?? '';
  if (!isGeneration(generation)) throw new Error(`generation "${generation}" is unknown`);
  if (args[0] === 'serve') return serve(generation, args[2] ?? '', args[3] ?? '');
  const socket = join(process.cwd(), 's');
  if (args.includes('start')) {
    process.stdout.write(await start(generation, socket, args[args.indexOf('-namespace') + 1] ?? ''));
    return;
  }
  rmSync(socket, { force: true });
  process.stdout.write(DeleteResponse.encode({ pid: PID, exitStatus: KILLED, exitedAt: toTimestamp(now()) }).finish());
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2));
