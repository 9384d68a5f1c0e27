/**
 * What a remote procedure service looks like, whatever carries it: gRPC, ttrpc
 * or a call in the same process. The generated code of `api/` has this shape.
 */

/** Encodes and decodes one message type; hand-written codecs have the same face. */
export interface MessageCodec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
  /** Of messages that carry data in bulk. */
  readonly bulk?: BulkCodec<T>;
  /** Of requests in a stream: the data of one is overwritten when its handler asks for the next. */
  readonly passing?: boolean;
}

/** Encodes into memory of the caller. */
export interface BulkCodec<T> {
  /** Bytes that it may take. */
  most(message: T): number;
  /** Writes it from offset `at`; returns the offset behind it. */
  write(message: T, target: Buffer, at: number): number;
}

export interface MethodDefinition {
  /** As in the .proto file: `ListStatuses`. */
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: a method of any messages
  readonly requestType: MessageCodec<any>;
  readonly requestStream: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: a method of any messages
  readonly responseType: MessageCodec<any>;
  readonly responseStream: boolean;
}

export interface ServiceDefinition {
  /** Package and name: `containerd.services.version.v1.Version`. */
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodDefinition>>;
}

/** Who calls, and until when. */
export interface Call {
  /** Aborted when the caller cancels, disconnects or runs out of time. */
  readonly signal: AbortSignal;
  /** First value of a request metadata key, in lower case. */
  metadata(key: string): string | undefined;
  /**
   * Namespace, lease and signal of the call. FAILED_PRECONDITION without a
   * namespace, INVALID_ARGUMENT for a malformed one.
   */
  scope(): { readonly namespace: string; readonly lease?: string; readonly signal: AbortSignal };
}

type Message<C> = C extends MessageCodec<infer T> ? T : never;
type Request<M extends MethodDefinition> = M['requestStream'] extends true
  ? AsyncIterable<Message<M['requestType']>>
  : Message<M['requestType']>;
type Response<M extends MethodDefinition> = M['responseStream'] extends true
  ? AsyncIterable<Message<M['responseType']>>
  : Promise<Message<M['responseType']>>;

/** One function per method. They may throw errors of the taxonomy; the transport maps them. */
export type Handlers<D extends ServiceDefinition> = {
  readonly [K in keyof D['methods']]: (request: Request<D['methods'][K]>, call: Call) => Response<D['methods'][K]>;
};

/** A definition with its handlers, types checked where it is made and erased here. */
export interface ServiceImplementation {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, (request: never, call: Call) => unknown>>;
}

/** Pairs a service definition with handlers of exactly its types. */
export const implement = <D extends ServiceDefinition>(definition: D, handlers: Handlers<D>): ServiceImplementation =>
  Object.freeze({ definition, handlers });
