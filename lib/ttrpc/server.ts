/** The serving side of ttrpc, for the same service implementations that gRPC serves. */
import { createServer, type Server, type Socket } from 'node:net';
import {
  canceled,
  codeOf,
  deadlineExceeded,
  invalidArgument,
  resourceExhausted,
  unimplemented,
} from '../../kernel/errors.js';
import type { Call, MethodDefinition, ServiceImplementation } from '../rpc/definition.js';
import { statusOf } from '../rpc/status.js';
import { Connection } from './connection.js';
import {
  FLAG_NO_DATA,
  FLAG_REMOTE_CLOSED,
  FRAME_DATA,
  FRAME_REQUEST,
  FRAME_RESPONSE,
  type Frame,
  MAX_FRAME,
  type OversizedFrame,
} from './frame.js';
import { Inbox } from './inbox.js';
import { decodeRequest, encodeResponse, type Request } from './messages.js';
import { makeCall } from './metadata.js';

/** Calls one connection may have open at once. */
const MAX_STREAMS = 10_000;

/** Longest delay of a timer, 24 days. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const NANOS_PER_MS = 1_000_000n;

const EMPTY = new Uint8Array();

type Handler = (request: never, call: Call) => unknown;

interface Method {
  readonly definition: MethodDefinition;
  readonly handler: Handler;
}

/** Hears of errors that are nobody's fault but ours, so that they can be logged. */
export type OnFailure = (error: unknown, method: string) => void;

/** One call in progress. */
interface OpenCall {
  readonly abort: AbortController;
  readonly timer: NodeJS.Timeout | undefined;
  /** What the caller still sends; undefined for a request without a stream. */
  readonly inbox: Inbox | undefined;
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** The deadline of a call; undefined when it has none, or one beyond what a timer can hold. */
function startTimer(timeoutNano: bigint, onTimeout: (milliseconds: number) => void): NodeJS.Timeout | undefined {
  const milliseconds = Number(timeoutNano / NANOS_PER_MS);
  if (timeoutNano <= 0n || milliseconds > MAX_TIMEOUT_MS) return undefined;
  return setTimeout(() => onTimeout(milliseconds), milliseconds);
}

/** What a caller asks. INVALID_ARGUMENT for bytes that are no such message. */
function decodeMessage(bytes: Uint8Array, { name, requestType }: MethodDefinition): unknown {
  try {
    return requestType.decode(bytes);
  } catch (cause) {
    throw invalidArgument(`what was sent to ${name} is no message of its kind`, { cause });
  }
}

async function* decodeAll(inbox: Inbox, definition: MethodDefinition): AsyncGenerator<unknown> {
  for await (const bytes of inbox) yield decodeMessage(bytes, definition);
}

class ServedConnection {
  readonly #connection: Connection;
  readonly #methods: ReadonlyMap<string, ReadonlyMap<string, Method>>;
  readonly #onFailure: OnFailure;
  readonly #onEnd: (ended: ServedConnection) => void;
  readonly #streams = new Map<number, OpenCall>();
  #lastStream = 0;

  constructor(
    socket: Socket,
    methods: ReadonlyMap<string, ReadonlyMap<string, Method>>,
    onFailure: OnFailure,
    onEnd: (ended: ServedConnection) => void,
  ) {
    this.#methods = methods;
    this.#onFailure = onFailure;
    this.#onEnd = onEnd;
    this.#connection = new Connection(socket, {
      onFrame: (frame) => this.#onFrame(frame),
      onOversized: (frame) => this.#onOversized(frame),
      onClose: () => this.#onClose(),
    });
  }

  close(): void {
    this.#connection.close();
  }

  #onClose(): void {
    for (const stream of [...this.#streams.keys()]) this.#finish(stream, canceled('the caller disconnected'));
    this.#onEnd(this);
  }

  #onOversized({ stream, oversized }: OversizedFrame): void {
    this.#fail(stream, resourceExhausted(`message of ${oversized} bytes is longer than ${MAX_FRAME}`));
  }

  #onFrame(frame: Frame): void {
    if (frame.stream % 2 !== 1) {
      this.#fail(frame.stream, invalidArgument(`stream ${frame.stream} of a client must be odd`));
    } else if (frame.type === FRAME_REQUEST) this.#onRequest(frame);
    else if (frame.type === FRAME_DATA) this.#onData(frame);
    // Other types may come to exist; the protocol asks to ignore them.
  }

  #onData({ stream, flags, data }: Frame): void {
    const inbox = this.#streams.get(stream)?.inbox;
    if (inbox === undefined || inbox.ended) {
      this.#fail(stream, invalidArgument(`stream ${stream} takes no data`));
      return;
    }
    if ((flags & FLAG_NO_DATA) === 0) inbox.push(data);
    if ((flags & FLAG_REMOTE_CLOSED) !== 0) inbox.end();
  }

  #onRequest({ stream, flags, data }: Frame): void {
    try {
      if (stream <= this.#lastStream) throw invalidArgument(`stream ${stream} was used before`);
      this.#lastStream = stream;
      if (this.#streams.size >= MAX_STREAMS)
        throw resourceExhausted(`${MAX_STREAMS} calls are open on this connection`);
      const request = this.#decode(data);
      this.#serve(stream, flags, request, this.#find(request));
    } catch (error) {
      this.#fail(stream, error);
    }
  }

  #decode(data: Uint8Array): Request {
    try {
      return decodeRequest(data);
    } catch (cause) {
      throw invalidArgument('the request is no ttrpc.Request', { cause });
    }
  }

  #find({ service, method }: Request): Method {
    const methods = this.#methods.get(service);
    if (methods === undefined) throw unimplemented(`service ${service}`);
    const found = methods.get(method);
    if (found === undefined) throw unimplemented(`method ${method} of service ${service}`);
    return found;
  }

  #serve(stream: number, flags: number, request: Request, method: Method): void {
    const name = `${request.service}/${request.method}`;
    const abort = new AbortController();
    const inbox = method.definition.requestStream ? this.#openInbox(flags, request.payload) : undefined;
    const timer = startTimer(request.timeoutNano, (milliseconds) =>
      this.#finish(stream, deadlineExceeded(`${name} took longer than ${milliseconds} ms`)),
    );
    this.#streams.set(stream, { abort, timer, inbox });
    this.#run(stream, request, method, abort.signal, inbox)
      .then(() => this.#finish(stream))
      .catch((error: unknown) => {
        if (codeOf(error) === 'INTERNAL') this.#onFailure(error, name);
        this.#finish(stream, error);
      });
  }

  /** Ends a call once, and tells the caller why unless it went well. What its handler still does is not heard any more. */
  #finish(stream: number, error?: unknown): void {
    const call = this.#streams.get(stream);
    if (call === undefined) return;
    this.#streams.delete(stream);
    clearTimeout(call.timer);
    call.inbox?.return();
    call.abort.abort(error ?? canceled('the call has ended'));
    if (error !== undefined) this.#fail(stream, error);
  }

  #openInbox(flags: number, payload: Uint8Array): Inbox {
    const inbox = new Inbox((bytes) => this.#connection.addLoad(bytes));
    if (payload.length > 0) inbox.push(payload);
    if ((flags & FLAG_REMOTE_CLOSED) !== 0) inbox.end();
    return inbox;
  }

  async #run(
    stream: number,
    { payload, metadata }: Request,
    { definition, handler }: Method,
    signal: AbortSignal,
    inbox: Inbox | undefined,
  ): Promise<void> {
    const message = inbox ? decodeAll(inbox, definition) : decodeMessage(payload, definition);
    // `implement` made sure that the handler takes what its definition decodes.
    const result = handler(message as never, makeCall(metadata, signal));
    if (isAsyncIterable(result)) await this.#sendAll(stream, definition, result);
    else this.#respond(stream, definition.responseType.encode(await result).finish());
  }

  async #sendAll(stream: number, { responseType }: MethodDefinition, messages: AsyncIterable<unknown>): Promise<void> {
    for await (const message of messages) {
      if (!this.#streams.has(stream)) return;
      const data = responseType.encode(message).finish();
      this.#connection.send({ stream, type: FRAME_DATA, flags: 0, data });
      await this.#connection.drained();
    }
    if (!this.#streams.has(stream)) return;
    this.#connection.send({ stream, type: FRAME_DATA, flags: FLAG_REMOTE_CLOSED | FLAG_NO_DATA, data: EMPTY });
  }

  #respond(stream: number, payload: Uint8Array): void {
    if (!this.#streams.has(stream)) return;
    this.#connection.send({ stream, type: FRAME_RESPONSE, flags: 0, data: encodeResponse({ payload }) });
  }

  #fail(stream: number, error: unknown): void {
    const data = encodeResponse({ status: statusOf(error), payload: EMPTY });
    this.#connection.send({ stream, type: FRAME_RESPONSE, flags: 0, data });
  }
}

function index(services: readonly ServiceImplementation[]): Map<string, Map<string, Method>> {
  const byService = new Map<string, Map<string, Method>>();
  for (const { definition, handlers } of services) {
    const methods = new Map<string, Method>();
    for (const [key, method] of Object.entries(definition.methods)) {
      const handler = handlers[key];
      if (handler) methods.set(method.name, { definition: method, handler });
    }
    byService.set(definition.fullName, methods);
  }
  return byService;
}

export interface TtrpcServer {
  readonly server: Server;
  /** Connections open now. */
  readonly connections: number;
  /** Ends all connections and accepts no more. */
  close(): Promise<void>;
}

/**
 * A server of these services that does not listen yet: `server.listen(...)`,
 * or `listenOnSocket` of lib/rpc. An error outside the taxonomy reaches the
 * caller as INTERNAL and `onFailure` as it is; the server lives on.
 */
export function createTtrpcServer(services: readonly ServiceImplementation[], onFailure: OnFailure): TtrpcServer {
  const methods = index(services);
  const open = new Set<ServedConnection>();
  const server = createServer((socket) => {
    open.add(new ServedConnection(socket, methods, onFailure, (ended) => open.delete(ended)));
  });
  return {
    server,
    get connections() {
      return open.size;
    },
    close() {
      return new Promise((resolve) => {
        if (server.listening) server.close(() => resolve());
        else resolve();
        for (const connection of open) connection.close();
      });
    },
  };
}
