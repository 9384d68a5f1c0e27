import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import type { Logger } from 'pino';
import { isErrno } from '../../lib/errno.js';
import type { SpaceReserve } from '../../lib/sqlite/database.js';

/** Bytes: enough for the log of a few hundred deletions. */
const SIZE = 2 * 1024 * 1024;

/** Milliseconds between attempts to set the space aside again. */
const RETRY = 1000;

/**
 * A file full of zeros beside the database. On a full disk it is deleted, and
 * its space lets images and everything else be removed.
 */
export class Reserve implements SpaceReserve {
  readonly #file: string;
  readonly #log: Logger;
  #there: boolean;
  #tried = Number.NEGATIVE_INFINITY;

  constructor(file: string, log: Logger) {
    this.#file = file;
    this.#log = log;
    this.#there = statSync(file, { throwIfNoEntry: false })?.size === SIZE;
  }

  release(): boolean {
    if (!this.#there) return false;
    this.#there = false;
    rmSync(this.#file, { force: true });
    this.#log.warn({ file: this.#file }, 'disk full: using the reserve to remove things');
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
      for (let written = 0; written < SIZE; ) written += writeSync(descriptor, Buffer.alloc(SIZE - written));
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
