/** The calling side of ttrpc. */
import { connect, type Socket } from 'node:net';
import { canceled, deadlineExceeded, internal, unavailable } from '../../kernel/errors.js';
import type { MessageCodec, MethodDefinition, ServiceDefinition } from '../rpc/definition.js';
import { errorOfStatus, STATUS_OK } from '../rpc/status.js';
import { Connection } from './connection.js';
import {
  FLAG_NO_DATA,
  FLAG_REMOTE_CLOSED,
  FLAG_REMOTE_OPEN,
  FRAME_DATA,
  FRAME_REQUEST,
  FRAME_RESPONSE,
  type Frame,
  MAX_FRAME,
} from './frame.js';
import { Inbox } from './inbox.js';
import { decodeResponse, encodeRequest, type Response } from './messages.js';

export interface CallOptions {
  /** Ends the wait; the peer is not told, ttrpc has no way to. */
  readonly signal?: AbortSignal;
  /** Milliseconds, told to the peer and kept here too: DEADLINE_EXCEEDED. */
  readonly timeout?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

type Message<C> = C extends MessageCodec<infer T> ? T : never;
type Request<M extends MethodDefinition> = M['requestStream'] extends true
  ? AsyncIterable<Message<M['requestType']>>
  : Message<M['requestType']>;
type Result<M extends MethodDefinition> = M['responseStream'] extends true
  ? AsyncIterable<Message<M['responseType']>>
  : Promise<Message<M['responseType']>>;

/** A service at the other end: one function per method. */
export type Stub<D extends ServiceDefinition> = {
  readonly [K in keyof D['methods']]: (
    request: Request<D['methods'][K]>,
    options?: CallOptions,
  ) => Result<D['methods'][K]>;
};

const NANOS_PER_MS = 1_000_000;
const EMPTY = new Uint8Array();

/** Who waits for the answer of a call. */
interface Receiver {
  onResponse(response: Response): void;
  onData(frame: Frame): void;
  onFailure(error: Error): void;
}

interface Pending extends Receiver {
  /** Lets go of the call's timer and signal. */
  release(): void;
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** The payload of a successful answer; throws the error of any other. */
function payloadOf({ status, payload }: Response): Uint8Array {
  if (status !== undefined && status.code !== STATUS_OK) throw errorOfStatus(status);
  return payload;
}

/** What was answered. INTERNAL for bytes that are no such message. */
function decodeAnswer(bytes: Uint8Array, { name, responseType }: MethodDefinition): unknown {
  try {
    return responseType.decode(bytes);
  } catch (cause) {
    throw internal(`what ${name} answered is no message of its kind`, { cause });
  }
}

/** The one answer to a stream of requests. */
async function onlyOne(answers: AsyncIterable<unknown>, { name }: MethodDefinition): Promise<unknown> {
  for await (const answer of answers) return answer;
  throw internal(`${name} ended without an answer`);
}

export class TtrpcClient {
  readonly #connection: Connection;
  readonly #pending = new Map<number, Pending>();
  readonly #address: string;
  #nextStream = 1;
  #closed: Error | undefined;
  readonly #ended: Promise<void>;

  constructor(socket: Socket, address: string) {
    this.#address = address;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = promise;
    this.#connection = new Connection(socket, {
      onFrame: (frame) => this.#onFrame(frame),
      onOversized: ({ stream, oversized }) =>
        this.#settle(stream)?.onFailure(internal(`answer of ${oversized} bytes is longer than ${MAX_FRAME}`)),
      onClose: (cause) => {
        this.#closed ??= unavailable(`the connection to "${address}" has ended`, cause === undefined ? {} : { cause });
        for (const stream of [...this.#pending.keys()]) this.#settle(stream)?.onFailure(this.#closed);
        resolve();
      },
    });
  }

  /** UNAVAILABLE when nobody answers at the unix socket. */
  static connect(path: string): Promise<TtrpcClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', (cause) => reject(unavailable(`connect to "${path}"`, { cause })));
      socket.once('connect', () => {
        socket.removeAllListeners('error');
        resolve(new TtrpcClient(socket, path));
      });
    });
  }

  /** True once no call can succeed any more. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Resolves once the connection has ended, from whichever side. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Calls still open fail with UNAVAILABLE. Idempotent. */
  close(): void {
    this.#closed ??= unavailable(`the connection to "${this.#address}" was closed`);
    this.#connection.close();
  }

  /** Whether the open connection keeps this process alive; it does at first. */
  unref(): void {
    this.#connection.unref();
  }

  /** The methods of a service. They throw errors of the taxonomy; UNAVAILABLE when the connection ends. */
  stub<D extends ServiceDefinition>(definition: D): Stub<D> {
    const methods = Object.entries(definition.methods).map(([key, method]) => [
      key,
      (request: unknown, options: CallOptions = {}) => this.#call(definition.fullName, method, request, options),
    ]);
    return Object.fromEntries(methods);
  }

  #call(service: string, method: MethodDefinition, request: unknown, options: CallOptions): unknown {
    if (method.responseStream) return this.#stream(service, method, request, options);
    if (method.requestStream) return onlyOne(this.#stream(service, method, request, options), method);
    return this.#unary(service, method, request, options);
  }

  #unary(service: string, method: MethodDefinition, request: unknown, options: CallOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const payload = method.requestType.encode(request).finish();
      const stream = this.#open(service, method, payload, 0, options, {
        onResponse: (response) => {
          try {
            resolve(decodeAnswer(payloadOf(response), method));
          } catch (error) {
            reject(error);
          }
        },
        onData: () => this.#settle(stream)?.onFailure(internal(`${service}/${method.name} answered with a stream`)),
        onFailure: reject,
      });
    });
  }

  async *#stream(
    service: string,
    method: MethodDefinition,
    request: unknown,
    options: CallOptions,
  ): AsyncGenerator<unknown> {
    const inbox = new Inbox((bytes) => this.#connection.addLoad(bytes));
    const first = method.requestStream ? EMPTY : method.requestType.encode(request).finish();
    const flags = method.requestStream ? FLAG_REMOTE_OPEN : FLAG_REMOTE_CLOSED;
    const stream = this.#open(service, method, first, flags, options, {
      onResponse: (response) => {
        try {
          const payload = payloadOf(response);
          if (!method.responseStream) inbox.push(payload);
          inbox.end();
        } catch (error) {
          inbox.end(error);
        }
      },
      onData: (frame) => {
        if ((frame.flags & FLAG_NO_DATA) === 0) inbox.push(frame.data);
        if ((frame.flags & FLAG_REMOTE_CLOSED) === 0) return;
        this.#settle(stream);
        inbox.end();
      },
      onFailure: (error) => inbox.end(error),
    });
    const sending = method.requestStream ? this.#sendAll(stream, method, request) : undefined;
    sending?.catch((error: unknown) => inbox.end(error));
    try {
      for await (const bytes of inbox) yield decodeAnswer(bytes, method);
    } finally {
      this.#settle(stream);
      inbox.return();
    }
  }

  async #sendAll(stream: number, method: MethodDefinition, messages: unknown): Promise<void> {
    if (!isAsyncIterable(messages)) throw internal(`${method.name} takes a stream of messages`);
    for await (const message of messages) {
      if (!this.#pending.has(stream)) return;
      const data = method.requestType.encode(message).finish();
      this.#connection.send({ stream, type: FRAME_DATA, flags: 0, data });
      await this.#connection.drained();
    }
    this.#connection.send({ stream, type: FRAME_DATA, flags: FLAG_REMOTE_CLOSED | FLAG_NO_DATA, data: EMPTY });
  }

  /** Sends the request and registers who waits for the answer. */
  #open(
    service: string,
    method: MethodDefinition,
    payload: Uint8Array,
    flags: number,
    { signal, timeout, metadata = {} }: CallOptions,
    receiver: Receiver,
  ): number {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    const name = `${service}/${method.name}`;
    if (this.#closed !== undefined || signal?.aborted) {
      receiver.onFailure(this.#closed ?? canceled(`${name} was cancelled`, { cause: signal?.reason }));
      return stream;
    }
    const fail = (error: Error): void => this.#settle(stream)?.onFailure(error);
    const onAbort = (): void => fail(canceled(`${name} was cancelled`, { cause: signal?.reason }));
    const onTimeout = (): void => fail(deadlineExceeded(`${name} at "${this.#address}": no answer in ${timeout} ms`));
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = timeout === undefined ? undefined : setTimeout(onTimeout, timeout);
    this.#pending.set(stream, {
      ...receiver,
      release() {
        signal?.removeEventListener('abort', onAbort);
        clearTimeout(timer);
      },
    });
    const timeoutNano = timeout === undefined ? 0n : BigInt(Math.ceil(timeout * NANOS_PER_MS));
    const request = { service, method: method.name, payload, timeoutNano, metadata: Object.entries(metadata) };
    try {
      this.#connection.send({ stream, type: FRAME_REQUEST, flags, data: encodeRequest(request) });
    } catch (error) {
      this.#settle(stream);
      throw error;
    }
    return stream;
  }

  /** Takes a call out of those that wait. */
  #settle(stream: number): Pending | undefined {
    const pending = this.#pending.get(stream);
    this.#pending.delete(stream);
    pending?.release();
    return pending;
  }

  #onFrame(frame: Frame): void {
    if (frame.type === FRAME_DATA) this.#pending.get(frame.stream)?.onData(frame);
    if (frame.type !== FRAME_RESPONSE) return;
    const pending = this.#settle(frame.stream);
    if (pending === undefined) return;
    try {
      pending.onResponse(decodeResponse(frame.data));
    } catch (cause) {
      pending.onFailure(internal(`"${this.#address}" sent an answer that is no ttrpc.Response`, { cause }));
    }
  }
}
