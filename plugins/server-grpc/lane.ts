/**
 * Methods served on the HTTP/2 stream itself: all that take one request and answer once, and those that bring or answer
 * with bulk data. grpc-js takes as long for a call as all the rest of it, of which a `ctr run` makes forty, and allocates
 * and copies every message twice. What is unusual about a call (a deadline, compression, another content type) is left to it.
 */
import { once } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { canceled, resourceExhausted } from '../../kernel/errors.js';
import type { BulkCodec } from '../../lib/rpc/definition.js';
import { STATUS_OK } from '../../lib/rpc/status.js';
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
const UNUSUAL = ['grpc-timeout', 'grpc-encoding'];

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
    const isUsual = CONTENT_TYPES.includes(headers['content-type']) && !UNUSUAL.some((key) => key in headers);
    if (served === undefined || !isUsual) return false;
    const { method, answer } = served;
    // A stream that fails closes too, which is what the call is told.
    stream.on('error', () => {});
    const call = this.#calls.open(method.path, method.definition.responseStream, {
      header: (key) => headers[key]?.toString(),
      getDeadline: () => Number.POSITIVE_INFINITY,
      onCancelled: (listener) => void stream.once('close', listener),
    });
    const handler = async (): Promise<void> => {
      await answer(stream, call);
      finish(stream, { code: STATUS_OK, details: 'OK' });
    };
    void run(this.#calls, call, handler, (failure) => finish(stream, failure));
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

/** It is closed some moments before the call is told. */
function requireOpen(stream: ServerHttp2Stream): void {
  if (stream.destroyed || stream.closed) throw canceled('the caller went away');
}

/** Ends the call, unless its caller has. */
export function finish(stream: ServerHttp2Stream, { code, details }: Status): void {
  if (stream.destroyed || stream.closed) return;
  const trailers = { 'grpc-status': code, 'grpc-message': encodeURI(details) };
  if (!stream.headersSent) {
    stream.respond({ ...HEADERS, ...trailers }, { endStream: true });
    return;
  }
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end();
}
