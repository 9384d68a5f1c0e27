/**
 * Frames of ttrpc (https://github.com/containerd/ttrpc/blob/main/PROTOCOL.md):
 * a header of ten bytes (length, stream, type, flags; big-endian) and data.
 */

/** Bytes of data; a longer frame is refused. */
export const MAX_FRAME = 4 << 20;

const HEADER_SIZE = 10;

export const FRAME_REQUEST = 1;
export const FRAME_RESPONSE = 2;
export const FRAME_DATA = 3;

/** The sender will send no more on this stream. */
export const FLAG_REMOTE_CLOSED = 1;
/** On a request: the sender will send more on this stream. */
export const FLAG_REMOTE_OPEN = 2;
/** On data: there is none, which is not the same as an empty message. */
export const FLAG_NO_DATA = 4;

export interface Frame {
  readonly stream: number;
  readonly type: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

/** A frame that was longer than {@link MAX_FRAME}: its data was passed over. */
export interface OversizedFrame {
  readonly stream: number;
  /** Bytes it claimed. */
  readonly oversized: number;
}

/** The header and the data, to be written one after the other. */
export function encodeFrame({ stream, type, flags, data }: Frame): readonly [Uint8Array, Uint8Array] {
  const header = Buffer.allocUnsafe(HEADER_SIZE);
  header.writeUInt32BE(data.length);
  header.writeUInt32BE(stream, 4);
  header.writeUInt8(type, 8);
  header.writeUInt8(flags, 9);
  return [header, data];
}

/** Cuts a stream of bytes into frames. Holds at most one frame of {@link MAX_FRAME} bytes and the chunk at hand. */
export class FrameReader {
  /** Bytes of a frame that has not arrived whole, at its beginning. */
  #buffer = Buffer.alloc(0);
  #held = 0;
  /** Bytes of an oversized frame still to be passed over. */
  #skip = 0;

  /** Takes a chunk over and returns the frames it completes. */
  *push(chunk: Buffer): Generator<Frame | OversizedFrame> {
    let bytes = this.#append(this.#passOver(chunk));
    const before = bytes.length;
    while (bytes.length >= HEADER_SIZE) {
      const length = bytes.readUInt32BE();
      const stream = bytes.readUInt32BE(4);
      if (length > MAX_FRAME) {
        this.#skip = length;
        bytes = this.#passOver(bytes.subarray(HEADER_SIZE));
        yield { stream, oversized: length };
        continue;
      }
      const end = HEADER_SIZE + length;
      if (bytes.length < end) break;
      yield { stream, type: bytes.readUInt8(8), flags: bytes.readUInt8(9), data: bytes.subarray(HEADER_SIZE, end) };
      bytes = bytes.subarray(end);
    }
    this.#keep(bytes, bytes.length < before);
  }

  #passOver(chunk: Buffer): Buffer {
    const skipped = Math.min(this.#skip, chunk.length);
    this.#skip -= skipped;
    return chunk.subarray(skipped);
  }

  /** What is held and the chunk, as one. Room doubles, so that a frame in tiny chunks costs no more than in large ones. */
  #append(chunk: Buffer): Buffer {
    if (this.#held === 0) return chunk;
    const length = this.#held + chunk.length;
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, this.#held);
      this.#buffer = larger;
    }
    chunk.copy(this.#buffer, this.#held);
    return this.#buffer.subarray(0, length);
  }

  /** Keeps the rest; in fresh memory when the frames before it may still be in use by others. */
  #keep(rest: Buffer, consumed: boolean): void {
    if (consumed || this.#held === 0) this.#buffer = Buffer.from(rest);
    this.#held = rest.length;
  }
}
