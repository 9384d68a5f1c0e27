/**
 * Typed stubs: one async function per method of a service definition, over a
 * gRPC channel. Streams are async iterables; leaving one early cancels it.
 */
import type { Client, ClientDuplexStream, ClientReadableStream, Metadata as GrpcMetadata } from '@grpc/grpc-js';
import type { MessageCodec, MethodDefinition, ServiceDefinition } from '../lib/rpc/definition.js';
import { fromServiceError } from './failure.js';

export interface CallOptions {
  /** Cancels the call. */
  readonly signal?: AbortSignal;
  /** Milliseconds until DEADLINE_EXCEEDED. Default: none. */
  readonly timeout?: number;
  /** Lease that the call's objects are added to. */
  readonly lease?: string;
}

type Atom = bigint | boolean | number | string | Uint8Array | undefined | null;

/** A message of which any field may be left out; it then has protobuf's default. */
export type PartialMessage<T> = T extends Atom
  ? T
  : T extends readonly (infer E)[]
    ? readonly PartialMessage<E>[]
    : T extends { $case: string }
      ? T
      : { readonly [K in keyof T]?: PartialMessage<T[K]> };

type Message<C> = C extends MessageCodec<infer T> ? T : never;
type Argument<M extends MethodDefinition> = M['requestStream'] extends true
  ? AsyncIterable<PartialMessage<Message<M['requestType']>>>
  : PartialMessage<Message<M['requestType']>>;
type Result<M extends MethodDefinition> = M['responseStream'] extends true
  ? AsyncIterable<Message<M['responseType']>>
  : Promise<Message<M['responseType']>>;

export type Stub<D extends ServiceDefinition> = {
  readonly [K in keyof D['methods']]: (
    request: Argument<D['methods'][K]>,
    options?: CallOptions,
  ) => Result<D['methods'][K]>;
};

/** What a stub needs to know of its connection. */
export interface Channel {
  readonly client: Client;
  readonly address: string;
  metadata(options: CallOptions): GrpcMetadata;
}

interface Complete {
  fromPartial?(partial: unknown): unknown;
}

/** Generated codecs fill absent fields in themselves. */
const complete = (codec: MessageCodec<unknown> & Complete, partial: unknown): unknown =>
  codec.fromPartial ? codec.fromPartial(partial) : partial;

const bytes = (encoded: Uint8Array): Buffer => Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);

class Method {
  readonly #channel: Channel;
  readonly #path: string;
  readonly #definition: MethodDefinition;

  constructor(channel: Channel, service: ServiceDefinition, definition: MethodDefinition) {
    this.#channel = channel;
    this.#path = `/${service.fullName}/${definition.name}`;
    this.#definition = definition;
  }

  readonly #encode = (message: unknown): Buffer =>
    bytes(this.#definition.requestType.encode(complete(this.#definition.requestType, message)).finish());

  readonly #decode = (encoded: Buffer): unknown => this.#definition.responseType.decode(encoded);

  #options({ timeout }: CallOptions): { deadline?: number } {
    return timeout === undefined ? {} : { deadline: Date.now() + timeout };
  }

  unary(request: unknown, options: CallOptions): Promise<unknown> {
    const { client, address } = this.#channel;
    return new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(
        this.#path,
        this.#encode,
        this.#decode,
        request,
        this.#channel.metadata(options),
        this.#options(options),
        (error, response) => {
          options.signal?.removeEventListener('abort', cancel);
          return error ? reject(fromServiceError(error, address)) : resolve(response);
        },
      );
      const cancel = (): void => call.cancel();
      cancelOn(options.signal, cancel);
    });
  }

  async *serverStream(request: unknown, options: CallOptions): AsyncIterable<unknown> {
    const { client } = this.#channel;
    const metadata = this.#channel.metadata(options);
    const call = client.makeServerStreamRequest(
      this.#path,
      this.#encode,
      this.#decode,
      request,
      metadata,
      this.#options(options),
    );
    yield* this.#responses(call, options);
  }

  async *duplex(requests: AsyncIterable<unknown>, options: CallOptions): AsyncIterable<unknown> {
    const { client } = this.#channel;
    const metadata = this.#channel.metadata(options);
    const call = client.makeBidiStreamRequest(this.#path, this.#encode, this.#decode, metadata, this.#options(options));
    const sent = send(requests, call);
    sent.catch(() => {}); // awaited below; until then the responses' own error comes first
    yield* this.#responses(call, options);
    await sent;
  }

  async *#responses(call: ClientReadableStream<unknown>, { signal }: CallOptions): AsyncIterable<unknown> {
    const cancel = (): void => call.cancel();
    cancelOn(signal, cancel);
    try {
      for await (const response of call) yield response;
    } catch (error) {
      throw fromServiceError(error, this.#channel.address);
    } finally {
      signal?.removeEventListener('abort', cancel);
      call.cancel(); // a no-op once the stream has ended
    }
  }
}

function cancelOn(signal: AbortSignal | undefined, cancel: () => void): void {
  if (signal?.aborted) cancel();
  else signal?.addEventListener('abort', cancel, { once: true });
}

async function send(requests: AsyncIterable<unknown>, call: ClientDuplexStream<unknown, unknown>): Promise<void> {
  const drained = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    call.once('drain', resolve).once('close', resolve);
    await promise;
    call.off('drain', resolve).off('close', resolve);
  };
  try {
    for await (const request of requests) {
      if (call.destroyed || call.writableEnded) return;
      if (!call.write(request)) await drained();
    }
    call.end();
  } catch (error) {
    call.cancel();
    throw error;
  }
}

function bind(method: Method, { requestStream, responseStream }: MethodDefinition): unknown {
  if (requestStream)
    return (requests: AsyncIterable<unknown>, options: CallOptions = {}) => method.duplex(requests, options);
  if (responseStream) return (request: unknown, options: CallOptions = {}) => method.serverStream(request, options);
  return (request: unknown, options: CallOptions = {}) => method.unary(request, options);
}

/** Makes the stub of a service on a channel. */
export function stub<D extends ServiceDefinition>(channel: Channel, definition: D): Stub<D> {
  const methods = Object.entries(definition.methods).map(([key, method]) => [
    key,
    bind(new Method(channel, definition, method), method),
  ]);
  return Object.fromEntries(methods);
}
