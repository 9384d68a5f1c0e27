/** Calls over one gRPC connection to a unix socket. */
import { resolve } from 'node:path';
import { credentials, type CallOptions as GrpcCallOptions, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import { invalidArgument } from '../../kernel/errors.js';
import { callFailure, type Remedies } from './call-failure.js';
import { BothWaysStream, type Explain, IncomingStream } from './call-stream.js';
import type { MethodDefinition, ServiceDefinition } from './definition.js';
import type { CallOptions, Stub } from './stub.js';

export interface ChannelOptions {
  /** Path of the unix socket, also as `unix:///path`. */
  readonly address: string;
  /** Bytes of one message, either way; 16 MiB by default. */
  readonly maxMessage?: number;
  /** Most milliseconds between two attempts to connect again; two minutes by default. */
  readonly maxBackoff?: number;
  /** What to do about a socket that does not answer, by errno. */
  readonly remedies?: Remedies;
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

/** What headers hold is printable ASCII (gRPC over HTTP/2, "ASCII-Value"), as names of namespaces and leases are. */
function header(what: string, value: string): string {
  if (/^[ -~]*$/.test(value)) return value;
  throw invalidArgument(`${what} ${JSON.stringify(value)} holds characters that no ${what} may have`);
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

/** Connects with the first call, and again whenever the connection was lost. */
export class Channel {
  /** Path of the socket. */
  readonly address: string;
  readonly #grpc: GrpcClient;
  readonly #remedies: Remedies;

  constructor({ address, maxMessage = MAX_MESSAGE, maxBackoff, remedies = {} }: ChannelOptions) {
    this.address = socketPath(address);
    this.#remedies = remedies;
    this.#grpc = new GrpcClient(`unix:${this.address}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': maxMessage,
      'grpc.max_send_message_length': maxMessage,
      'grpc.enable_retries': 0,
      'grpc.enable_channelz': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.service_config_disable_resolution': 1,
      ...(maxBackoff !== undefined && {
        'grpc.initial_reconnect_backoff_ms': Math.min(100, maxBackoff),
        'grpc.max_reconnect_backoff_ms': maxBackoff,
      }),
    });
  }

  /** Resolves to whether the socket answers within that many milliseconds. */
  ready(millis: number): Promise<boolean> {
    return new Promise((settle) =>
      this.#grpc.waitForReady(Date.now() + millis, (error) => settle(error === undefined)),
    );
  }

  close(): void {
    this.#grpc.close();
  }

  /** One function per method; calls are made in the namespace. */
  stub<D extends ServiceDefinition>(service: D, namespace?: string): Stub<D> {
    const methods = Object.entries(service.methods).map(([key, method]) => [
      key,
      this.#method(service, method, namespace),
    ]);
    return Object.fromEntries(methods);
  }

  #method(service: ServiceDefinition, method: MethodDefinition, namespace: string | undefined): unknown {
    const path = `/${service.fullName}/${method.name}`;
    const prepare = (options: CallOptions) => this.#prepare(path, method, namespace, options);
    if (method.requestStream) {
      return (requests: AsyncIterable<unknown>, options = {}) => this.#bothWays(prepare(options), requests);
    }
    if (method.responseStream) return (request: unknown, options = {}) => this.#incoming(prepare(options), request);
    return async (request: unknown, options = {}) => this.#unary(prepare(options), request);
  }

  #prepare(path: string, method: MethodDefinition, namespace: string | undefined, options: CallOptions): Prepared {
    const { signal, timeout, lease } = options;
    const metadata = new Metadata();
    const { namespace: own = namespace } = options;
    if (own !== undefined) metadata.set('containerd-namespace', header('namespace', own));
    if (lease !== undefined) metadata.set('containerd-lease', header('lease', lease));
    return {
      path,
      metadata,
      signal,
      encode: encoder(method),
      decode: (bytes) => method.responseType.decode(bytes),
      how: timeout === undefined ? {} : { deadline: Date.now() + timeout },
      explain: (error) => callFailure(error, this.address, this.#remedies, signal),
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
