import { read } from 'node:fs';
import type { BlobReader } from '../../kernel/contracts/content.js';
import { whileDoing } from '../../lib/errno.js';
import { readCached } from '../../lib/linux/file.js';

/** An open file of a blob, and what to call when nobody reads it any more. */
export interface OpenBlob {
  readonly fd: number;
  /** Bytes. */
  readonly size: number;
  release(): void;
}

/** read(2) on another thread. */
const readInBackground = (fd: number, target: Uint8Array, position: number): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, target, 0, target.byteLength, position, (error, count) => (error ? reject(error) : resolve(count)));
  });

/** Reads a blob by descriptor: it can be read to its end also while it is deleted. */
export class LocalReader implements BlobReader {
  readonly size: number;
  readonly #digest: string;
  readonly #blob: OpenBlob;
  #isOpen = true;

  constructor(digest: string, blob: OpenBlob) {
    this.#digest = digest;
    this.#blob = blob;
    this.size = blob.size;
  }

  /** What is in memory is read at once, which takes less than another thread is told in; the rest waits for the disk there. */
  async read(target: Uint8Array, offset: number): Promise<number> {
    const { fd } = this.#blob;
    let filled = target.byteLength === 0 ? 0 : readCached(fd, target, offset, this.#digest);
    while (filled < target.byteLength) {
      const reading = readInBackground(fd, target.subarray(filled), offset + filled);
      const count = await whileDoing(`reading content "${this.#digest}"`, reading);
      if (count === 0) break;
      filled += count;
    }
    return filled;
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#blob.release();
  }
}
