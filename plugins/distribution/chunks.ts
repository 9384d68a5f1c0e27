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

/** Milliseconds that pairs without work are kept. */
const IDLE = 10_000;

/**
 * Pairs that are used again by the next blob. Made anew for each, they would add up: garbage of this kind weighs so
 * little on the heap that it is long in being collected.
 */
export class ChunkPairs {
  readonly #free: ChunkPair[] = [];
  #lent = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Lends a pair for the work. After a failure somebody may be at it still, and it is not used again. */
  async lend<T>(work: (pair: ChunkPair) => Promise<T>): Promise<T> {
    clearTimeout(this.#timer);
    const pair = this.#free.pop() ?? new ChunkPair();
    this.#lent += 1;
    try {
      const result = await work(pair);
      this.#free.push(pair);
      return result;
    } finally {
      this.#lent -= 1;
      if (this.#lent === 0) this.#tidyLater();
    }
  }

  #tidyLater(): void {
    const tidy = (): void => {
      this.#free.length = 0;
    };
    this.#timer = setTimeout(tidy, IDLE).unref();
  }
}
