/**
 * Files of blobs that are being read, and the last few that were: clients read
 * a blob by thousands of calls, and opening it for each would cost more than
 * what they read.
 */
import { close, constants, fstat, open } from 'node:fs';
import { promisify } from 'node:util';
import { LocalReader, type OpenBlob } from './reader.js';

const openFile = promisify(open);
const statFile = promisify(fstat);

/** Files kept open that nobody reads. */
const KEPT = 8;

class SharedFile implements OpenBlob {
  readonly fd: number;
  readonly size: number;
  readonly #unused: (file: SharedFile) => void;
  #readers = 0;
  #isForgotten = false;

  constructor(fd: number, size: number, unused: (file: SharedFile) => void) {
    this.fd = fd;
    this.size = size;
    this.#unused = unused;
  }

  get isUnused(): boolean {
    return this.#readers === 0;
  }

  use(): this {
    this.#readers += 1;
    return this;
  }

  release(): void {
    this.#readers -= 1;
    if (!this.isUnused) return;
    if (this.#isForgotten) this.#close();
    else this.#unused(this);
  }

  /** Closes once nobody reads it any more. */
  forget(): void {
    if (this.#isForgotten) return;
    this.#isForgotten = true;
    if (this.isUnused) this.#close();
  }

  #close(): void {
    // Only read from: nothing can be lost by a failure.
    close(this.fd, () => {});
  }
}

export class OpenBlobs {
  /** The last used is the last. */
  readonly #files = new Map<string, SharedFile>();
  /** How often something was forgotten: a file opened before may be the former one. */
  #changes = 0;

  /** A reader of the blob in the file at the path, which is asked for when it is not open. Errors of open(2). */
  async reader(digest: string, path: () => string): Promise<LocalReader> {
    const known = this.#files.get(digest);
    if (known) {
      this.#files.delete(digest);
      this.#files.set(digest, known);
      return new LocalReader(digest, known.use());
    }
    const before = this.#changes;
    const fd = await openFile(path(), constants.O_RDONLY);
    const { size } = await statFile(fd);
    const file = new SharedFile(fd, size, () => this.#trim());
    const reader = new LocalReader(digest, file.use());
    if (this.#changes === before && !this.#files.has(digest)) this.#files.set(digest, file);
    else file.forget();
    return reader;
  }

  /** To be called before the file at that name is deleted or becomes another: who reads it goes on, nobody else will. */
  forget(digest: string): void {
    this.#changes += 1;
    this.#files.get(digest)?.forget();
    this.#files.delete(digest);
  }

  close(): void {
    for (const digest of [...this.#files.keys()]) this.forget(digest);
  }

  #trim(): void {
    const unused = [...this.#files].filter(([, file]) => file.isUnused);
    for (const [digest] of unused.slice(0, Math.max(0, unused.length - KEPT))) this.forget(digest);
  }
}
