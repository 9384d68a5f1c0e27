/** A connection to a shim; tasks that share a shim share it. */
import { TaskDefinition as TaskV2Definition } from '../../api/gen/runtime/task-v2.js';
import { TaskDefinition } from '../../api/gen/runtime/task-v3.js';
import { hasCode } from '../../kernel/errors.js';
import { type CallOptions, type Stub, TtrpcClient } from '../../lib/ttrpc/client.js';
import type { ShimEndpoint } from './bootstrap.js';

export type TaskStub = Stub<typeof TaskDefinition>;

export interface ShimConnection {
  /** Where it leads: connections to one shim have this in common. */
  readonly socket: string;
  readonly tasks: TaskStub;
  /** Resolves once the shim is gone, or `close` was called. */
  readonly ended: Promise<void>;
  close(): void;
}

/** The service as that version calls it; the messages are the same. */
const definitionOf = (version: number) =>
  version >= 3 ? TaskDefinition : { ...TaskDefinition, fullName: TaskV2Definition.fullName };

/**
 * UNAVAILABLE when nobody serves there. A shim that announces version 3 and
 * does not have it is spoken to in version 2. It is asked something, with the
 * options of `probe`, and may answer what it likes; whether it must answer is
 * up to `mute`, which gets the error when it does not.
 */
export async function connectShim(
  endpoint: ShimEndpoint,
  probe: CallOptions,
  id: string,
  mute: (error: unknown) => void = () => undefined,
): Promise<ShimConnection> {
  const connection =
    endpoint.protocol === 'grpc' ? await connectByGrpc(endpoint) : await connectTtrpc(endpoint, endpoint.version);
  const error = await refusalOf(connection.tasks.connect({ id }, probe));
  if (hasCode(error, 'UNIMPLEMENTED') && endpoint.protocol === 'ttrpc' && endpoint.version >= 3) {
    connection.close();
    return connectTtrpc(endpoint, 2);
  }
  try {
    if (hasCode(error, 'DEADLINE_EXCEEDED') || hasCode(error, 'UNAVAILABLE')) mute(error);
  } catch (refused) {
    connection.close();
    throw refused;
  }
  return connection;
}

const refusalOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

async function connectTtrpc({ socket }: ShimEndpoint, version: number): Promise<ShimConnection> {
  const client = await TtrpcClient.connect(socket);
  return { socket, tasks: client.stub(definitionOf(version)), ended: client.ended, close: () => client.close() };
}

/** Few shims speak gRPC: its client is loaded for the first of them. */
async function connectByGrpc({ socket, version }: ShimEndpoint): Promise<ShimConnection> {
  const { connectGrpc } = await import('./grpc-connection.js');
  return connectGrpc(socket, definitionOf(version));
}
