/** Memory for messages that carry data in bulk, used again and again: a fresh megabyte for each costs more than the message. */

/** Bytes of a buffer: the pieces that clients cut bulk data into, and what is said about them. */
export const ROOM = 1024 * 1024 + 1024;
/** Buffers kept for the next messages. */
const KEPT = 4;

export class MessageBuffers {
  readonly #kept: Buffer[] = [];

  /** At least so many bytes, whatever was in them. */
  take(bytes: number): Buffer {
    if (bytes > ROOM) return Buffer.allocUnsafeSlow(bytes);
    return this.#kept.pop() ?? Buffer.allocUnsafeSlow(ROOM);
  }

  /** Nobody looks at it any more. */
  give(buffer: Buffer): void {
    if (buffer.length === ROOM && this.#kept.length < KEPT) this.#kept.push(buffer);
  }
}
