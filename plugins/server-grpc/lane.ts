/**
 * Methods served on the HTTP/2 stream itself: all that take one request and answer once, and those that bring or answer
 * with bulk data. grpc-js takes as long for a call as all the rest of it, of which a `ctr run` makes forty, and allocates
 * and copies every message twice. What is unusual about a call (compression, another content type) is left to it.
 */
import { once } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { canceled, deadlineExceeded, resourceExhausted } from '../../kernel/errors.js';
import type { BulkCodec } from '../../lib/rpc/definition.js';
import { STATUS_OK, statusNumber } from '../../lib/rpc/status.js';
import type { ServerCall } from './call.js';
import type { Calls } from './calls.js';
import { manyRequests } from './many-requests.js';
import { MessageBuffers } from './message-buffers.js';
import { decode, encode, type Method, responses, run, type Status } from './methods.js';
import { oneRequest, PREFIX } from './one-request.js';

/** What clients say that they send, Go's and Node's. */
const CONTENT_TYPES: readonly (string | undefined)[] = ['application/grpc', 'application/grpc+proto'];

const HEADERS = { ':status': 200, 'content-type': 'application/grpc+proto' };
/** Of requests: what says that a call is not for here. */
const UNUSUAL = 'grpc-encoding';

/** gRPC over HTTP/2, "TimeoutUnit". */
const MILLISECONDS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
/** What Node can wait, 25 days: longer deadlines are never enforced. */
const LONGEST_TIMER = 2 ** 31 - 1;

export interface MessageLimits {
  /** Bytes of one message; a larger one is RESOURCE_EXHAUSTED. */
  readonly maxReceive: number;
  /** Bytes of one message; a larger one is RESOURCE_EXHAUSTED. */
  readonly maxSend: number;
}

/** Answers the call on its stream. */
type Answer = (stream: ServerHttp2Stream, call: ServerCall) => Promise<void>;

interface Served {
  readonly method: Method;
  readonly answer: Answer;
}

export class Lane {
  readonly #calls: Calls;
  readonly #limits: MessageLimits;
  readonly #served = new Map<string, Served>();
  readonly #buffers = new MessageBuffers();

  constructor(calls: Calls, limits: MessageLimits) {
    this.#calls = calls;
    this.#limits = limits;
  }

  /** Serves the method from now on, in place of a former one at its path, if it is of the kind. */
  register(method: Method): void {
    const answer = this.#answerOf(method);
    if (answer) this.#served.set(method.path, { method, answer });
    else this.#served.delete(method.path);
  }

  #answerOf(method: Method): Answer | undefined {
    const { requestStream, responseStream, requestType, responseType } = method.definition;
    const { bulk } = responseType;
    if (requestStream) {
      const isServed = responseStream && requestType.passing === true;
      return isServed ? (stream, call) => this.#exchange(method, stream, call) : undefined;
    }
    if (!responseStream)
      return async (stream, call) => this.#one(method, stream, call, await this.#request(method, stream, call));
    return (
      bulk &&
      (async (stream, call) => this.#many(method, bulk, stream, call, await this.#request(method, stream, call)))
    );
  }

  /** Serves the call; false when it is not for here, and untouched. */
  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean {
    const served = this.#served.get(headers[':path'] ?? '');
    const isUsual = CONTENT_TYPES.includes(headers['content-type']) && !(UNUSUAL in headers);
    const timeout = timeoutOf(headers);
    if (served === undefined || !isUsual || timeout === undefined) return false;
    const { method, answer } = served;
    // A stream that fails closes too, which is what the call is told.
    stream.on('error', () => {});
    const deadline = Date.now() + timeout;
    const call = this.#calls.open(method.path, method.definition.responseStream, {
      header: (key) => headers[key]?.toString(),
      getDeadline: () => deadline,
      onCancelled: (listener) => void stream.once('close', listener),
    });
    const end = ending(stream);
    const handler = async (): Promise<void> => {
      await answer(stream, call);
      end({ code: STATUS_OK, details: 'OK' });
    };
    void run(this.#calls, call, handler, end);
    if (timeout <= LONGEST_TIMER) endIn(timeout, stream, call, end);
    return true;
  }

  async #request(method: Method, stream: ServerHttp2Stream, call: ServerCall): Promise<unknown> {
    return decode(method, await oneRequest(stream, call, this.#limits.maxReceive));
  }

  async #one(method: Method, stream: ServerHttp2Stream, call: ServerCall, request: unknown): Promise<void> {
    const frame = this.#framed(method, await method.invoke(request, call));
    requireOpen(stream);
    stream.respond(HEADERS, { waitForTrailers: true });
    stream.write(frame);
  }

  /** Requests in bulk, and an answer to each or to none. */
  async #exchange(method: Method, stream: ServerHttp2Stream, call: ServerCall): Promise<void> {
    const incoming = manyRequests(stream, call, this.#buffers, this.#limits.maxReceive);
    async function* requests(): AsyncGenerator<unknown> {
      for await (const bytes of incoming.messages) yield decode(method, bytes);
    }
    try {
      for await (const message of responses(method, method.invoke(requests(), call))) {
        call.signal.throwIfAborted();
        const frame = this.#framed(method, message);
        requireOpen(stream);
        if (!stream.headersSent) stream.respond(HEADERS, { waitForTrailers: true });
        if (!stream.write(frame)) await once(stream, 'drain', { signal: call.signal });
      }
      call.signal.throwIfAborted();
    } finally {
      incoming.close();
    }
  }

  #framed(method: Method, answer: unknown): Buffer {
    const message = encode(method, answer);
    this.#checkSize(method, message.length);
    const frame = Buffer.allocUnsafe(PREFIX + message.length);
    frame.writeUInt8(0, 0);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, PREFIX);
    return frame;
  }

  async #many(
    method: Method,
    codec: BulkCodec<unknown>,
    stream: ServerHttp2Stream,
    call: ServerCall,
    request: unknown,
  ): Promise<void> {
    for await (const message of responses(method, method.invoke(request, call))) {
      call.signal.throwIfAborted();
      requireOpen(stream);
      if (!stream.headersSent) stream.respond(HEADERS, { waitForTrailers: true });
      if (!this.#send(method, codec, stream, message)) await once(stream, 'drain', { signal: call.signal });
    }
    call.signal.throwIfAborted();
  }

  #checkSize({ path }: Method, length: number): void {
    if (length > this.#limits.maxSend)
      throw resourceExhausted(`an answer of "${path}" has ${length} bytes, more than ${this.#limits.maxSend}`);
  }

  /** False when the caller is behind. */
  #send(method: Method, codec: BulkCodec<unknown>, stream: ServerHttp2Stream, message: unknown): boolean {
    const most = PREFIX + codec.most(message);
    const buffer = this.#buffers.take(most);
    const length = codec.write(message, buffer, PREFIX) - PREFIX;
    this.#checkSize(method, length);
    buffer.writeUInt8(0, 0);
    buffer.writeUInt32BE(length, 1);
    return stream.write(buffer.subarray(0, PREFIX + length), () => this.#buffers.give(buffer));
  }
}

/** Milliseconds that the caller gives the call, infinite when it does not say; undefined when what it says makes no sense. */
function timeoutOf(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['grpc-timeout'];
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const [, amount, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(text.toString()) ?? [];
  return amount === undefined ? undefined : Math.ceil(Number(amount) * (MILLISECONDS[unit] ?? 0));
}

/** The first status is the one that is told: that of the deadline comes in time, also where the handler goes on. */
function ending(stream: ServerHttp2Stream): (status: Status) => void {
  let isTold = false;
  return (status) => {
    if (!isTold) finish(stream, status);
    isTold = true;
  };
}

function endIn(timeout: number, stream: ServerHttp2Stream, call: ServerCall, end: (status: Status) => void): void {
  const timer = setTimeout(() => {
    const reason = deadlineExceeded('the deadline of the call has passed');
    call.abort(reason);
    end({ code: statusNumber(reason.code), details: reason.message });
  }, timeout);
  stream.once('close', () => clearTimeout(timer));
}

/** It is closed some moments before the call is told. */
function requireOpen(stream: ServerHttp2Stream): void {
  if (isOver(stream)) throw canceled('the caller went away');
}

/** Nothing can be sent any more. */
const isOver = (stream: ServerHttp2Stream): boolean => stream.destroyed || stream.closed || stream.writableEnded;

/** Ends the call, unless its caller has. */
export function finish(stream: ServerHttp2Stream, { code, details }: Status): void {
  if (isOver(stream)) return;
  const trailers = { 'grpc-status': code, 'grpc-message': encodeURI(details) };
  if (!stream.headersSent) {
    stream.respond({ ...HEADERS, ...trailers }, { endStream: true });
    return;
  }
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end();
}
