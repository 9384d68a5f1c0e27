import type { FileHandle } from 'node:fs/promises';
import type { BlobReader } from '../../kernel/contracts/content.js';
import { whileDoing } from '../../lib/errno.js';

/** Reads a blob by descriptor: it can be read to its end also while it is deleted. */
export class LocalReader implements BlobReader {
  readonly size: number;
  readonly #digest: string;
  readonly #file: FileHandle;

  constructor(digest: string, file: FileHandle, size: number) {
    this.#digest = digest;
    this.#file = file;
    this.size = size;
  }

  async read(target: Uint8Array, offset: number): Promise<number> {
    let filled = 0;
    while (filled < target.byteLength) {
      const reading = this.#file.read(target, filled, target.byteLength - filled, offset + filled);
      const { bytesRead } = await whileDoing(`reading content "${this.#digest}"`, reading);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
