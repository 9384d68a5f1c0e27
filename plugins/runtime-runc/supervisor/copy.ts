/** Copying between descriptors that Node has no streams for: terminals and FIFOs held open. */
import { readSync, writeSync } from 'node:fs';
import { isErrno } from '../../../lib/errno.js';
import { type Watch, watchReadable, watchWritable } from '../../../lib/linux/poll.js';

/** Shared by all copies: what does not fit into the target at once is kept apart. */
const scratch = Buffer.allocUnsafeSlow(32 << 10);

/** Bytes moved; undefined at the end of the source: a hung-up terminal answers EIO (pty(7)). */
function readSome(fd: number): number | undefined {
  try {
    const count = readSync(fd, scratch);
    return count === 0 ? undefined : count;
  } catch (error) {
    if (isErrno(error, 'EAGAIN')) return 0;
    if (isErrno(error, 'EIO')) return undefined;
    throw error;
  }
}

function writeSome(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if (isErrno(error, 'EAGAIN')) return 0;
    throw error;
  }
}

/**
 * Copies until the source ends. A target that takes nothing stops the copy,
 * holding at most one buffer, until it does again; nobody else waits. Neither
 * descriptor is closed.
 */
export class Copy {
  readonly #source: number;
  readonly #target: number | undefined;
  readonly #onEnd: (error?: unknown) => void;
  #watch: Watch | undefined;
  #rest: Buffer | undefined;
  #ended = false;

  /** Without a target the bytes are dropped. `onEnd` is called once, with what went wrong if something did. */
  constructor(source: number, target: number | undefined, onEnd: (error?: unknown) => void) {
    this.#source = source;
    this.#target = target;
    this.#onEnd = onEnd;
    this.#await();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** True while there are bytes that the target does not take. */
  get blocked(): boolean {
    return this.#rest !== undefined;
  }

  /** Ends the copy where it is. Idempotent. */
  stop(): void {
    this.#finish();
  }

  #await(): void {
    this.#watch?.close();
    const step = (): void => this.#step();
    this.#watch =
      this.#rest !== undefined && this.#target !== undefined
        ? watchWritable(this.#target, step)
        : watchReadable(this.#source, step);
  }

  #step(): void {
    try {
      if (this.#rest !== undefined) this.#flush(this.#rest);
      else this.#move();
    } catch (error) {
      this.#finish(error);
    }
  }

  #move(): void {
    const count = readSome(this.#source);
    if (count === undefined) this.#finish();
    if (count === undefined || this.#target === undefined) return;
    const bytes = scratch.subarray(0, count);
    const written = writeSome(this.#target, bytes);
    if (written === count) return;
    this.#rest = Buffer.from(bytes.subarray(written));
    this.#await();
  }

  #flush(rest: Buffer): void {
    const written = writeSome(this.#target ?? -1, rest);
    this.#rest = written < rest.length ? rest.subarray(written) : undefined;
    if (this.#rest === undefined) this.#await();
  }

  #finish(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#watch?.close();
    this.#onEnd(error);
  }
}
