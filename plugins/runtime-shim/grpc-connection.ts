/** gRPC, which shims may speak in version 3. */
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { MethodDefinition, ServiceDefinition } from '../../lib/rpc/definition.js';
import { errorOfStatus } from '../../lib/rpc/status.js';
import type { CallOptions } from '../../lib/ttrpc/client.js';
import { LEASE_KEY, NAMESPACE_KEY } from '../../lib/ttrpc/metadata.js';
import type { ShimConnection } from './connection.js';

export function connectGrpc(socket: string, { fullName, methods }: ServiceDefinition): ShimConnection {
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
