/** The messages of a caller, one after another, off the HTTP/2 stream (gRPC over HTTP/2, "Length-Prefixed-Message"). */
import type { ServerHttp2Stream } from 'node:http2';
import { internal, invalidArgument, resourceExhausted } from '../../kernel/errors.js';
import { collectYoung } from '../../lib/garbage.js';
import type { ServerCall } from './call.js';
import type { MessageBuffers } from './message-buffers.js';
import { PREFIX } from './one-request.js';

/**
 * Bytes of requests between two collections. Each read of a connection has 64 KB of its own, outside of the heap: V8 sees
 * little to collect, and would let them become more than all the rest of the daemon.
 */
const COLLECT_EVERY = 16 << 20;
let uncollected = 0;

function collectSometimes(received: number): void {
  uncollected += received;
  if (uncollected < COLLECT_EVERY) return;
  uncollected = 0;
  collectYoung();
}

/** Memory that the bytes to come go to, and whoever waits for it to be full. */
interface Wanted {
  readonly target: Buffer;
  filled: number;
  readonly resolve: (filled: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Takes the bytes of a stream where they are wanted; the caller is held up while nobody wants any. */
class Source {
  readonly #stream: ServerHttp2Stream;
  /** Bytes that came when nobody wanted them. */
  #held: Buffer[] = [];
  #wanted: Wanted | undefined;
  #isOver = false;
  readonly #signal: AbortSignal;
  readonly #onData = (part: Buffer): void => this.#add(part);
  readonly #onEnd = (): void => this.#end();
  readonly #onAbort = (): void => this.#settle()?.reject(this.#signal.reason);

  constructor(stream: ServerHttp2Stream, signal: AbortSignal) {
    this.#stream = stream;
    this.#signal = signal;
    stream.on('data', this.#onData).on('end', this.#onEnd);
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Fills the memory; resolves to the number of bytes, which are fewer when the caller sends no more. */
  fill(target: Buffer): Promise<number> {
    this.#signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      this.#wanted = { target, filled: 0, resolve, reject };
      const held = this.#held;
      this.#held = [];
      for (const part of held) this.#add(part);
      if (this.#isOver) this.#finish();
      else if (this.#wanted) this.#stream.resume();
    });
  }

  /** What still comes is dropped. */
  close(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#stream.off('data', this.#onData).off('end', this.#onEnd).resume();
  }

  #add(part: Buffer): void {
    const wanted = this.#wanted;
    const taken = wanted ? part.copy(wanted.target, wanted.filled) : 0;
    if (wanted) wanted.filled += taken;
    if (taken < part.length) {
      this.#held.push(part.subarray(taken));
      this.#stream.pause();
    }
    if (wanted?.filled === wanted?.target.length) this.#finish();
  }

  #end(): void {
    this.#isOver = true;
    // Of a call that is given up this comes first, then what became of it.
    if (!this.#stream.aborted) this.#finish();
  }

  #finish(): void {
    const wanted = this.#settle();
    wanted?.resolve(wanted.filled);
  }

  #settle(): Wanted | undefined {
    const wanted = this.#wanted;
    this.#wanted = undefined;
    return wanted;
  }
}

export interface ManyRequests {
  /** Bytes of each, until the next is asked for. Errors as of `oneRequest`. */
  readonly messages: AsyncIterable<Buffer>;
  /** No more are wanted. */
  close(): void;
}

/** `most`: bytes that a message may have. */
export function manyRequests(
  stream: ServerHttp2Stream,
  { path, signal }: ServerCall,
  buffers: MessageBuffers,
  most: number,
): ManyRequests {
  const source = new Source(stream, signal);
  const prefix = Buffer.alloc(PREFIX);
  const fill = async (target: Buffer): Promise<void> => {
    if ((await source.fill(target)) < target.length) throw internal(`a message of a call of "${path}" must come whole`);
  };
  /** Bytes of the next message; undefined when there is none. */
  const announced = async (): Promise<number | undefined> => {
    if ((await source.fill(prefix.subarray(0, 1))) === 0) return undefined;
    await fill(prefix.subarray(1));
    if (prefix[0] !== 0) throw invalidArgument(`a message of a call of "${path}" is compressed, and does not say how`);
    const length = prefix.readUInt32BE(1);
    if (length <= most) return length;
    throw resourceExhausted(`a request of "${path}" has ${length} bytes, more than ${most}`);
  };
  async function* messages(): AsyncGenerator<Buffer> {
    for (let length = await announced(); length !== undefined; length = await announced()) {
      const buffer = buffers.take(length);
      try {
        const message = buffer.subarray(0, length);
        if (length > 0) await fill(message);
        collectSometimes(length);
        yield message;
      } finally {
        buffers.give(buffer);
      }
    }
  }
  return { messages: messages(), close: () => source.close() };
}
