/** The one message of a caller, off the HTTP/2 stream (gRPC over HTTP/2, "Length-Prefixed-Message"). */
import type { ServerHttp2Stream } from 'node:http2';
import { internal, invalidArgument, type KeelsonError, resourceExhausted } from '../../kernel/errors.js';
import type { ServerCall } from './call.js';

/** One byte that says whether the message is compressed, and four of its length. */
export const PREFIX = 5;

class Incoming {
  readonly #path: string;
  readonly #most: number;
  #parts: Buffer[] = [];
  #length = 0;
  /** Bytes of the message by its prefix, as soon as that is there. */
  #announced: number | undefined;

  constructor(path: string, most: number) {
    this.#path = path;
    this.#most = most;
  }

  /** What is wrong already. */
  add(part: Buffer): KeelsonError | undefined {
    this.#parts.push(part);
    this.#length += part.length;
    if (this.#length < PREFIX) return undefined;
    this.#announced ??= this.#joined().readUInt32BE(1);
    if (this.#announced > this.#most)
      return resourceExhausted(`a request of "${this.#path}" has ${this.#announced} bytes, more than ${this.#most}`);
    return this.#length > PREFIX + this.#announced ? this.#notOne() : undefined;
  }

  whole(): Buffer {
    if (this.#announced !== this.#length - PREFIX) throw this.#notOne();
    const bytes = this.#joined();
    if (bytes[0] !== 0) throw invalidArgument(`the request of "${this.#path}" is compressed, and does not say how`);
    return bytes.subarray(PREFIX);
  }

  #joined(): Buffer {
    const [first = Buffer.alloc(0), ...others] = this.#parts;
    const bytes = others.length === 0 ? first : Buffer.concat(this.#parts);
    this.#parts = [bytes];
    return bytes;
  }

  #notOne(): KeelsonError {
    return internal(`a call of "${this.#path}" must bring one request, whole`);
  }
}

/**
 * Resolves to the bytes of the message, of `most` bytes. RESOURCE_EXHAUSTED as soon as its prefix says that there are
 * more; INTERNAL when there is not one message, and no more than that; INVALID_ARGUMENT when it is compressed. What
 * comes after a refusal is dropped.
 */
export function oneRequest(stream: ServerHttp2Stream, { path, signal }: ServerCall, most: number): Promise<Buffer> {
  const incoming = new Incoming(path, most);
  return new Promise((resolve, reject) => {
    const refuse = (error: unknown): void => {
      stream.off('data', add).resume();
      reject(error);
    };
    const add = (part: Buffer): void => {
      const trouble = incoming.add(part);
      if (trouble) refuse(trouble);
    };
    stream.on('data', add);
    stream.once('end', () => {
      try {
        resolve(incoming.whole());
      } catch (error) {
        refuse(error);
      }
    });
    signal.addEventListener('abort', () => refuse(signal.reason), { once: true });
  });
}
