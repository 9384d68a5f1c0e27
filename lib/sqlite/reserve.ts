import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { isErrno } from '../errno.js';
import type { SpaceReserve } from './database.js';

/** Milliseconds between attempts to set the space aside again. */
const RETRY = 1000;

export interface ReserveOptions {
  /** Bytes; a deletion takes some kilobytes of the log. */
  readonly size: number;
  /** Called when the disk is full and the space is given up. */
  readonly onRelease: () => void;
}

/**
 * A file full of zeros beside the database. On a full disk it is deleted, and
 * its space lets images and everything else be removed.
 */
export class Reserve implements SpaceReserve {
  readonly #file: string;
  readonly #size: number;
  readonly #onRelease: () => void;
  #there: boolean;
  #tried = Number.NEGATIVE_INFINITY;

  constructor(file: string, { size, onRelease }: ReserveOptions) {
    this.#file = file;
    this.#size = size;
    this.#onRelease = onRelease;
    this.#there = statSync(file, { throwIfNoEntry: false })?.size === size;
  }

  release(): boolean {
    if (!this.#there) return false;
    this.#there = false;
    rmSync(this.#file, { force: true });
    this.#onRelease();
    return true;
  }

  ready(): boolean {
    if (this.#there) return true;
    if (performance.now() - this.#tried < RETRY) return false;
    this.#tried = performance.now();
    this.#there = this.#fill();
    return this.#there;
  }

  #fill(): boolean {
    const descriptor = openSync(this.#file, 'w', 0o600);
    try {
      for (let written = 0; written < this.#size; ) {
        written += writeSync(descriptor, Buffer.alloc(this.#size - written));
      }
      fsyncSync(descriptor);
      return true;
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error;
      rmSync(this.#file, { force: true });
      return false;
    } finally {
      closeSync(descriptor);
    }
  }
}
