/** Connections to a daemon: ours or stock containerd. */
import { resolve } from 'node:path';
import { credentials, type CallOptions as GrpcCallOptions, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import type { MethodDefinition, ServiceDefinition } from '../lib/rpc/definition.js';
import { callFailure } from './errors.js';
import { SERVICES } from './services.js';
import { BothWaysStream, type Explain, IncomingStream } from './stream.js';
import type { CallOptions, Stub } from './stub.js';

export interface ConnectOptions {
  /** Path of the unix socket, also as `unix:///path`. */
  readonly address: string;
  /** Sent with every call; services that are not divided by namespaces ignore it. */
  readonly namespace?: string;
  /** Bytes of one message, either way; 16 MiB by default. */
  readonly maxMessage?: number;
}

type Stubs = { readonly [K in keyof typeof SERVICES]: Stub<(typeof SERVICES)[K]> };

/** One stub per service, and the connection they share. */
export interface Client extends Stubs, Disposable {
  /** Path of the socket. */
  readonly address: string;
  readonly namespace: string | undefined;
  /** The stub of any service, also of one that has no property here. */
  service<D extends ServiceDefinition>(definition: D): Stub<D>;
  /** The same connection in another namespace; disposing of either ends both. */
  in(namespace: string): Client;
}

const MAX_MESSAGE = 16 * 1024 * 1024;

/** Codecs of requests also complete messages that lack fields. */
interface RequestCodec {
  // biome-ignore lint/suspicious/noExplicitAny: the types are checked by the stub and erased here
  fromPartial(message: any): unknown;
}

const completes = (codec: object): codec is RequestCodec => 'fromPartial' in codec;

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const encoder =
  ({ requestType }: MethodDefinition) =>
  (message: unknown): Buffer =>
    asBuffer(requestType.encode(completes(requestType) ? requestType.fromPartial(message) : message).finish());

const identity = (bytes: Buffer): Buffer => bytes;

const socketPath = (address: string): string => resolve(address.replace(/^unix:(?:\/\/)?/, ''));

async function* mapped(requests: AsyncIterable<unknown>, encode: (message: unknown) => Buffer): AsyncIterable<Buffer> {
  for await (const request of requests) yield encode(request);
}

/** Everything about a call but its request. */
interface Prepared {
  readonly path: string;
  readonly metadata: Metadata;
  readonly signal: AbortSignal | undefined;
  readonly how: GrpcCallOptions;
  readonly encode: (message: unknown) => Buffer;
  readonly decode: (bytes: Buffer) => unknown;
  readonly explain: Explain;
}

interface Cancelable {
  cancel(): void;
  once(event: 'status', done: () => void): unknown;
}

function cancelOn(signal: AbortSignal | undefined, call: Cancelable): void {
  if (signal === undefined) return;
  const cancel = (): void => call.cancel();
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  call.once('status', () => signal.removeEventListener('abort', cancel));
}

/** Makes stubs whose calls go over one connection, in one namespace. */
class Connection {
  readonly #grpc: GrpcClient;
  readonly #address: string;
  readonly #namespace: string | undefined;

  constructor(grpc: GrpcClient, address: string, namespace: string | undefined) {
    this.#grpc = grpc;
    this.#address = address;
    this.#namespace = namespace;
  }

  stub<D extends ServiceDefinition>(service: D): Stub<D> {
    const methods = Object.entries(service.methods).map(([key, method]) => [key, this.#method(service, method)]);
    return Object.fromEntries(methods);
  }

  #method(service: ServiceDefinition, method: MethodDefinition): unknown {
    const path = `/${service.fullName}/${method.name}`;
    const prepare = (options: CallOptions) => this.#prepare(path, method, options);
    if (method.requestStream) {
      return (requests: AsyncIterable<unknown>, options = {}) => this.#bothWays(prepare(options), requests);
    }
    if (method.responseStream) return (request: unknown, options = {}) => this.#incoming(prepare(options), request);
    return (request: unknown, options = {}) => this.#unary(prepare(options), request);
  }

  #prepare(path: string, method: MethodDefinition, options: CallOptions): Prepared {
    const { signal, timeout, lease } = options;
    const metadata = new Metadata();
    if (this.#namespace !== undefined) metadata.set('containerd-namespace', this.#namespace);
    if (lease !== undefined) metadata.set('containerd-lease', lease);
    return {
      path,
      metadata,
      signal,
      encode: encoder(method),
      decode: (bytes) => method.responseType.decode(bytes),
      how: timeout === undefined ? {} : { deadline: Date.now() + timeout },
      explain: (error) => callFailure(error, this.#address, signal),
    };
  }

  async #unary(call: Prepared, request: unknown): Promise<unknown> {
    const { path, metadata, encode, decode, how, explain, signal } = call;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const done = (error: Error | null, value: unknown): void => (error ? reject(explain(error)) : resolve(value));
    cancelOn(signal, this.#grpc.makeUnaryRequest(path, identity, decode, encode(request), metadata, how, done));
    return promise;
  }

  #incoming({ path, metadata, encode, decode, how, explain, signal }: Prepared, request: unknown): IncomingStream {
    const call = this.#grpc.makeServerStreamRequest(path, identity, decode, encode(request), metadata, how);
    cancelOn(signal, call);
    return new IncomingStream(call, explain);
  }

  #bothWays(prepared: Prepared, requests: AsyncIterable<unknown>): BothWaysStream {
    const { path, metadata, encode, decode, how, explain, signal } = prepared;
    const call = this.#grpc.makeBidiStreamRequest(path, identity, decode, metadata, how);
    cancelOn(signal, call);
    return new BothWaysStream(call, mapped(requests, encode), explain);
  }
}

function clientOver(grpc: GrpcClient, address: string, namespace: string | undefined): Client {
  const connection = new Connection(grpc, address, namespace);
  const stubs = Object.entries(SERVICES).map(([name, service]) => [name, connection.stub(service)]);
  return {
    // every stub was made from the definition that its type is made from
    ...(Object.fromEntries(stubs) as Stubs),
    address,
    namespace,
    service: (definition) => connection.stub(definition),
    in: (other) => clientOver(grpc, address, other),
    [Symbol.dispose]: () => grpc.close(),
  };
}

/**
 * A client of the daemon at `address`. Connects with the first call; a daemon
 * that cannot be reached makes that call fail with UNAVAILABLE.
 */
export function connect(options: ConnectOptions): Client {
  const address = socketPath(options.address);
  const maxMessage = options.maxMessage ?? MAX_MESSAGE;
  const grpc = new GrpcClient(`unix:${address}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': maxMessage,
    'grpc.max_send_message_length': maxMessage,
    'grpc.enable_retries': 0,
    'grpc.enable_channelz': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
  });
  return clientOver(grpc, address, options.namespace);
}
