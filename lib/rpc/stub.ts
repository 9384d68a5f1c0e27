/** What calling a service looks like: one typed function per method of its definition. */
import type { MessageCodec, MethodDefinition, ServiceDefinition } from './definition.js';

export interface CallOptions {
  /** Aborting it cancels the call. */
  readonly signal?: AbortSignal;
  /** Milliseconds until the call is DEADLINE_EXCEEDED; none by default. */
  readonly timeout?: number;
  /** In place of the one the stub was made for. */
  readonly namespace?: string;
  /** Lease that the objects of the call are added to. */
  readonly lease?: string;
}

type Value = bigint | string | number | boolean | Uint8Array | undefined;

/** A message whose fields may be left out: they take the default of their type. */
export type PartialMessage<T> = T extends Value
  ? T
  : T extends readonly (infer U)[]
    ? readonly PartialMessage<U>[]
    : { readonly [K in keyof T]?: PartialMessage<T[K]> };

type Message<C> = C extends MessageCodec<infer T> ? T : never;
type Argument<M extends MethodDefinition> = M['requestStream'] extends true
  ? AsyncIterable<PartialMessage<Message<M['requestType']>>>
  : PartialMessage<Message<M['requestType']>>;
type Result<M extends MethodDefinition> = M['responseStream'] extends true
  ? ServerStream<Message<M['responseType']>>
  : Promise<Message<M['responseType']>>;

/** Messages from the server. Leaving a `for await` loop over it cancels the call. */
export interface ServerStream<T> extends AsyncIterableIterator<T> {
  /**
   * Resolves once the server has answered that the call stands, which stock
   * containerd does only with its first message. Rejects when the call fails before.
   */
  readonly opened: Promise<void>;
  cancel(): void;
}

export type Stub<D extends ServiceDefinition> = {
  readonly [K in keyof D['methods']]: (
    request: Argument<D['methods'][K]>,
    options?: CallOptions,
  ) => Result<D['methods'][K]>;
};
