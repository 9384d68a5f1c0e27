/**
 * Straight to what watches over a task, past the daemon: our supervisor, or any
 * shim of containerd's that speaks the Task service over ttrpc.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Event, SupervisorDefinition } from '../api/gen/runtime/supervisor.js';
import { TaskDefinition as TaskV2Definition } from '../api/gen/runtime/task-v2.js';
import { TaskDefinition } from '../api/gen/runtime/task-v3.js';
import { hasCode, invalidArgument, notFound } from '../kernel/errors.js';
import { isErrno } from '../lib/errno.js';
import { SOCKET, shimsDirectory, supervisorDirectory, tasksDirectory } from '../lib/supervisor/layout.js';
import { type CallOptions, type Stub, TtrpcClient } from '../lib/ttrpc/client.js';
import { scopeMetadata } from '../lib/ttrpc/metadata.js';

export type { Event as ShimEvent, ProcessRecord } from '../api/gen/runtime/supervisor.js';

export interface ShimAddress {
  /** Path of the unix socket. */
  readonly socket: string;
  readonly namespace: string;
}

export interface Shim extends Disposable {
  readonly tasks: Stub<typeof TaskDefinition>;
  /** Of our supervisor only; UNIMPLEMENTED by others. */
  readonly supervisor: Stub<typeof SupervisorDefinition>;
  /** Goes with every call. */
  readonly call: CallOptions;
  events(signal?: AbortSignal): AsyncIterable<Event>;
}

/** The directory of a task's bundle, below the state directory of a daemon: of our supervisors, or of stock shims. */
export function bundlePath(state: string, namespace: string, id: string): string {
  const ours = join(tasksDirectory(state), namespace, id);
  const stock = join(shimsDirectory(state), namespace, id);
  return !existsSync(ours) && existsSync(stock) ? stock : ours;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** `bootstrap.json` of a bundle, as containerd 2 writes it: `{"version":3,"address":"unix://...","protocol":"ttrpc"}`. */
function bootstrapAddress(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || !('address' in value)) return undefined;
  if ('protocol' in value && value.protocol !== 'ttrpc') throw invalidArgument(`the shim speaks ${value.protocol}`);
  return String(value.address);
}

/**
 * Where the shim of a task is: by its bundle, else our supervisor of the
 * namespace. NOT_FOUND when there is neither.
 */
export async function findShim(state: string, namespace: string, id: string): Promise<ShimAddress> {
  const bundle = bundlePath(state, namespace, id);
  const bootstrap = bootstrapAddress(await readIfThere(join(bundle, 'bootstrap.json')));
  const address = bootstrap ?? (await readIfThere(join(bundle, 'address')));
  if (address !== undefined) return { socket: address.trim().replace(/^unix:\/\//, ''), namespace };
  const socket = join(supervisorDirectory(tasksDirectory(state), namespace), SOCKET);
  if (existsSync(socket)) return { socket, namespace };
  throw notFound(`task "${id}" has no bundle "${bundle}"`, { remedy: 'check --namespace and --state' });
}

/** UNAVAILABLE when nobody serves there. */
export async function connectShim({ socket, namespace }: ShimAddress): Promise<Shim> {
  const client = await TtrpcClient.connect(socket);
  const call = { metadata: scopeMetadata({ namespace }) };
  const supervisor = client.stub(SupervisorDefinition);
  return {
    tasks: await taskStub(client, call),
    supervisor,
    call,
    events: (signal) => supervisor.watch({}, { ...call, ...(signal && { signal }) }),
    [Symbol.dispose]: () => client.close(),
  };
}

/** Version 3 of the service, or 2, whose messages are the same. */
async function taskStub(client: TtrpcClient, call: CallOptions): Promise<Stub<typeof TaskDefinition>> {
  const newest = client.stub(TaskDefinition);
  try {
    await newest.connect({ id: '' }, call);
  } catch (error) {
    if (hasCode(error, 'UNIMPLEMENTED')) return client.stub({ ...TaskDefinition, fullName: TaskV2Definition.fullName });
  }
  return newest;
}
