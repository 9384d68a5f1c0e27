/**
 * Methods that answer one request with a stream of bulk data, served on the HTTP/2 stream itself. grpc-js allocates and
 * copies every message twice and takes as long for a call as all the rest of it: `ctr content get` makes a call for
 * every 32 KB. What is unusual about a call (a deadline, compression, another content type) is left to grpc-js.
 */
import { once } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { canceled, internal, invalidArgument, resourceExhausted } from '../../kernel/errors.js';
import type { BulkCodec } from '../../lib/rpc/definition.js';
import { STATUS_OK } from '../../lib/rpc/status.js';
import type { ServerCall } from './call.js';
import type { Calls } from './calls.js';
import { decode, type Method, responses, run, type Status } from './methods.js';

/** One byte that says whether the message is compressed, and four of its length. */
const PREFIX = 5;
/** Bytes of the buffers that messages go out of; larger messages get one of their own. */
const ROOM = 1024 * 1024 + 1024;
/** Buffers kept for the next messages. */
const KEPT = 4;

/** What clients say that they send, Go's and Node's. */
const CONTENT_TYPES: readonly (string | undefined)[] = ['application/grpc', 'application/grpc+proto'];

const HEADERS = { ':status': 200, 'content-type': 'application/grpc+proto' };
/** Of requests: what says that a call is not for here. */
const UNUSUAL = ['grpc-timeout', 'grpc-encoding'];

export interface LaneLimits {
  readonly maxReceive: number;
  readonly maxSend: number;
}

interface BulkMethod extends Method {
  readonly codec: BulkCodec<unknown>;
}

/** A method of the kind, or nothing. */
function bulkMethod(method: Method): BulkMethod | undefined {
  const { requestStream, responseStream, responseType } = method.definition;
  const codec = responseType.bulk;
  return requestStream || !responseStream || codec === undefined ? undefined : { ...method, codec };
}

export class BulkLane {
  readonly #calls: Calls;
  readonly #limits: LaneLimits;
  readonly #methods = new Map<string, BulkMethod>();
  readonly #buffers: Buffer[] = [];

  constructor(calls: Calls, limits: LaneLimits) {
    this.#calls = calls;
    this.#limits = limits;
  }

  /** Serves the method from now on, in place of a former one at its path, if it is of the kind. */
  register(method: Method): void {
    const bulk = bulkMethod(method);
    if (bulk) this.#methods.set(method.path, bulk);
    else this.#methods.delete(method.path);
  }

  /** Serves the call; false when it is not for here, and untouched. */
  take(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean {
    const method = this.#methods.get(headers[':path'] ?? '');
    const isUsual = CONTENT_TYPES.includes(headers['content-type']) && !UNUSUAL.some((key) => key in headers);
    if (method === undefined || !isUsual) return false;
    // A stream that fails closes too, which is what the call is told.
    stream.on('error', () => {});
    const call = this.#calls.open(method.path, true, {
      header: (key) => headers[key]?.toString(),
      getDeadline: () => Number.POSITIVE_INFINITY,
      onCancelled: (listener) => void stream.once('close', listener),
    });
    const handler = async (): Promise<void> => {
      await this.#answer(method, call, stream, await this.#request(call, stream));
      finish(stream, { code: STATUS_OK, details: 'OK' });
    };
    void run(this.#calls, call, handler, (failure) => finish(stream, failure));
    return true;
  }

  /** The bytes of the one message of the caller. */
  async #request({ path, signal }: ServerCall, stream: ServerHttp2Stream): Promise<Buffer> {
    const { maxReceive } = this.#limits;
    const parts: Buffer[] = [];
    let length = 0;
    stream.on('data', (part: Buffer) => {
      length += part.length;
      if (length <= maxReceive + PREFIX) parts.push(part);
    });
    await once(stream, 'end', { signal });
    if (length > maxReceive + PREFIX)
      throw resourceExhausted(`a request of "${path}" has more than ${maxReceive} bytes`);
    const [first = Buffer.alloc(0)] = parts;
    const bytes = parts.length === 1 ? first : Buffer.concat(parts);
    if (bytes.length < PREFIX || bytes.readUInt32BE(1) !== bytes.length - PREFIX)
      throw internal(`a call of "${path}" must bring one request, whole`);
    if (bytes[0] !== 0) throw invalidArgument(`the request of "${path}" is compressed, and does not say how`);
    return bytes.subarray(PREFIX);
  }

  async #answer(method: BulkMethod, call: ServerCall, stream: ServerHttp2Stream, request: Buffer): Promise<void> {
    const messages = responses(method, method.invoke(decode(method, request), call));
    for await (const message of messages) {
      call.signal.throwIfAborted();
      requireOpen(stream);
      if (!stream.headersSent) stream.respond(HEADERS, { waitForTrailers: true });
      if (!this.#send(method, stream, message)) await once(stream, 'drain', { signal: call.signal });
    }
    call.signal.throwIfAborted();
  }

  /** False when the caller is behind. */
  #send({ codec, path }: BulkMethod, stream: ServerHttp2Stream, message: unknown): boolean {
    const most = PREFIX + codec.most(message);
    const buffer = most > ROOM ? Buffer.allocUnsafeSlow(most) : (this.#buffers.pop() ?? Buffer.allocUnsafeSlow(ROOM));
    const length = codec.write(message, buffer, PREFIX) - PREFIX;
    if (length > this.#limits.maxSend)
      throw resourceExhausted(`an answer of "${path}" has ${length} bytes, more than ${this.#limits.maxSend}`);
    buffer.writeUInt8(0, 0);
    buffer.writeUInt32BE(length, 1);
    return stream.write(buffer.subarray(0, PREFIX + length), () => {
      if (most <= ROOM && this.#buffers.length < KEPT) this.#buffers.push(buffer);
    });
  }
}

/** It is closed some moments before the call is told. */
function requireOpen(stream: ServerHttp2Stream): void {
  if (stream.destroyed || stream.closed) throw canceled('the caller went away');
}

function finish(stream: ServerHttp2Stream, { code, details }: Status): void {
  if (stream.destroyed || stream.closed) return;
  const trailers = { 'grpc-status': code, 'grpc-message': encodeURI(details) };
  if (!stream.headersSent) {
    stream.respond({ ...HEADERS, ...trailers }, { endStream: true });
    return;
  }
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end();
}
