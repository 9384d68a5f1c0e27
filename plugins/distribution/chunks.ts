/** Buffers between the network, the disk and the unpacking workers. */

/** Bytes; fewer cost more calls per byte, more gain nothing. */
export const CHUNK = 1024 * 1024;

/**
 * Two buffers used in turn: one is filled while the other is consumed. They
 * are shared memory, so that workers read them without a copy.
 */
export class ChunkPair {
  readonly #chunks: [Uint8Array | undefined, Uint8Array | undefined] = [undefined, undefined];
  #next: 0 | 1 = 0;

  /** The buffer handed out before the last one; at most `remaining` bytes long. */
  allocate(remaining: number): Uint8Array {
    const size = Math.min(CHUNK, Math.max(1, remaining));
    const index = this.#next;
    this.#next = index === 0 ? 1 : 0;
    const held = this.#chunks[index];
    const chunk = held && held.length >= size ? held : new Uint8Array(new SharedArrayBuffer(size));
    this.#chunks[index] = chunk;
    return chunk.subarray(0, size);
  }
}
