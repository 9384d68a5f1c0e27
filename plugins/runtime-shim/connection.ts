/** A connection to a shim; tasks that share a shim share it. */
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { TaskDefinition as TaskV2Definition } from '../../api/gen/runtime/task-v2.js';
import { TaskDefinition } from '../../api/gen/runtime/task-v3.js';
import { hasCode } from '../../kernel/errors.js';
import type { MethodDefinition } from '../../lib/rpc/definition.js';
import { errorOfStatus } from '../../lib/rpc/status.js';
import { type CallOptions, type Stub, TtrpcClient } from '../../lib/ttrpc/client.js';
import { LEASE_KEY, NAMESPACE_KEY } from '../../lib/ttrpc/metadata.js';
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
    endpoint.protocol === 'grpc' ? connectGrpc(endpoint) : await connectTtrpc(endpoint, endpoint.version);
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

/** gRPC, which shims may speak in version 3. */
function connectGrpc({ socket, version }: ShimEndpoint): ShimConnection {
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const watch = (state: number): void => {
    client.getChannel().watchConnectivityState(state, Number.POSITIVE_INFINITY, () => {
      const next = client.getChannel().getConnectivityState(false);
      // 2 is READY, after which anything else means that the shim has gone.
      if (state === 2) resolve();
      else watch(next);
    });
  };
  watch(client.getChannel().getConnectivityState(true));
  const { fullName, methods } = definitionOf(version);
  const stubs = Object.entries(methods).map(([key, method]) => [key, grpcCall(client, fullName, method)]);
  const close = (): void => {
    client.close();
    resolve();
  };
  return { socket, tasks: Object.fromEntries(stubs), ended, close };
}

function grpcCall(client: Client, service: string, method: MethodDefinition) {
  const encode = (message: unknown): Buffer => Buffer.from(method.requestType.encode(message).finish());
  const decode = (bytes: Buffer): unknown => method.responseType.decode(bytes);
  return (request: unknown, { signal, timeout, metadata = {} }: CallOptions = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(
        `/${service}/${method.name}`,
        encode,
        decode,
        request,
        grpcMetadata(metadata),
        timeout === undefined ? {} : { deadline: Date.now() + timeout },
        (error: ServiceError | null, response?: unknown) => {
          if (error === null) resolve(response);
          else reject(errorOfStatus({ code: error.code, message: error.details }, error));
        },
      );
      signal?.addEventListener('abort', () => call.cancel(), { once: true });
    });
}

/** gRPC's names of what ttrpc carries. */
const GRPC_KEYS: Readonly<Record<string, string>> = {
  [NAMESPACE_KEY]: 'containerd-namespace',
  [LEASE_KEY]: 'containerd-lease',
};

function grpcMetadata(pairs: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(pairs)) metadata.set(GRPC_KEYS[key] ?? key, value);
  return metadata;
}
