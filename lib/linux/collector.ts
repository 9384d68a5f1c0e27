/** Keeps the beginning of what comes out of a pipe. */
import { closeSync, readSync } from 'node:fs';
import { isReadable, type Watch, watchReadable } from './poll.js';

export class Collector {
  readonly #fd: number;
  readonly #limit: number;
  readonly #watch: Watch;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #ended = false;

  /** Takes the reading end of a pipe over. Bytes after the first `limit` are read and dropped. */
  constructor(fd: number, limit: number) {
    this.#fd = fd;
    this.#limit = limit;
    this.#watch = watchReadable(fd, () => this.#read());
  }

  #read(): void {
    const buffer = Buffer.allocUnsafe(64 << 10);
    const count = readSync(this.#fd, buffer);
    if (count === 0) {
      this.#ended = true;
      this.#watch.close();
    }
    const room = Math.max(0, this.#limit - this.#size);
    this.#size += count;
    if (room > 0) this.#chunks.push(buffer.subarray(0, Math.min(count, room)));
  }

  /** What is there now; to be called once. The end is not waited for: a child of the program may have kept the pipe. */
  take(): Buffer {
    // Nor is more taken than is kept: such a child may write for ever.
    while (!this.#ended && this.#size < this.#limit && isReadable(this.#fd)) this.#read();
    this.#watch.close();
    closeSync(this.#fd);
    return Buffer.concat(this.#chunks);
  }
}
