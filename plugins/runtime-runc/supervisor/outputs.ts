/**
 * Where a process's output goes. Whatever it is, the process gets a descriptor
 * of the thing itself: nothing is copied here (a terminal's output excepted).
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { invalidArgument } from '../../../kernel/errors.js';
import { isErrno } from '../../../lib/errno.js';
import { holdFifo, reopen, unreadBytes } from '../../../lib/linux/fifo.js';
import { Descriptors } from './descriptors.js';
import type { Owner } from './streams.js';

export interface Output {
  /** The descriptor for the process. */
  readonly file: number;
  /** A descriptor that never blocks, to copy a terminal's output to; ask for it before {@link handedOver}. */
  copyTarget(): number;
  /** The process has its descriptor: closes ours of it. */
  handedOver(): void;
  /** The process has exited: readers get end of file once they have read what is there. */
  finish(): void;
  /** Lets go of everything at once. */
  close(): void;
}

/** First and longest wait between two looks whether a FIFO has been read, milliseconds. */
const FIRST_LOOK = 1;
const LONGEST_LOOK = 250;

/**
 * A FIFO. Both its ends are held here and by the process itself (which gets it
 * for reading and writing), so no reader that leaves, and no end of this
 * supervisor, can break the pipe under the process.
 */
export class FifoOutput implements Output {
  readonly file: number;
  readonly #held: number;
  readonly #descriptors = new Descriptors();
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string, owner: Owner) {
    this.#held = this.#descriptors.add(holdFifo(path));
    this.file = this.#descriptors.orClose(() => {
      owner.take(this.#held);
      return this.#descriptors.add(reopen(this.#held, constants.O_RDWR));
    });
  }

  copyTarget(): number {
    return this.#held;
  }

  handedOver(): void {
    this.#descriptors.close(this.file);
  }

  finish(): void {
    this.handedOver();
    this.#closeOnceRead(FIRST_LOOK);
  }

  /** What nobody has read would be lost with the last descriptor: a reader that is slow, or late, still gets it. */
  #closeOnceRead(wait: number): void {
    if (unreadBytes(this.#held) === 0) this.close();
    else this.#timer = setTimeout(() => this.#closeOnceRead(Math.min(2 * wait, LONGEST_LOOK)), wait).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#descriptors.closeAll();
  }
}

/** What needs nothing but its one descriptor, which is kept while a terminal's output is copied to it. */
class PlainOutput implements Output {
  readonly file: number;
  protected readonly descriptors = new Descriptors();
  #copied = false;

  constructor(file: number) {
    this.file = this.descriptors.add(file);
  }

  copyTarget(): number {
    this.#copied = true;
    return this.file;
  }

  handedOver(): void {
    if (!this.#copied) this.descriptors.close(this.file);
  }

  finish(): void {
    this.close();
  }

  close(): void {
    this.descriptors.closeAll();
  }
}

const APPEND = constants.O_WRONLY | constants.O_APPEND;
const MODE = 0o640;

/** A file that is appended to, or nothing (`/dev/null`). */
export class FileOutput extends PlainOutput {
  constructor(path: string) {
    super(openSync(path, APPEND | constants.O_CREAT, MODE));
  }
}

/** A pipe to a logging program; both ends are held, so that its death does not kill the process. */
export class PipeOutput extends PlainOutput {
  constructor(pipe: { readonly read: number; readonly write: number }) {
    super(pipe.write);
    this.descriptors.add(pipe.read);
  }

  override copyTarget(): number {
    super.copyTarget();
    return this.descriptors.add(reopen(this.file, constants.O_WRONLY | constants.O_NONBLOCK));
  }
}

const isFifo = (path: string): boolean => {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return fstatSync(fd).isFIFO();
  } finally {
    closeSync(fd);
  }
};

/** A bare path: a FIFO, or a file that exists. NOT_FOUND, INVALID_ARGUMENT. */
export function openPath(path: string, owner: Owner): Output {
  if (path === '') return new FileOutput('/dev/null');
  if (!path.startsWith('/')) throw invalidArgument(`output "${path}" is not an absolute path`);
  try {
    return isFifo(path) ? new FifoOutput(path, owner) : new FileOutput(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw invalidArgument(`output "${path}" does not exist`, { cause: error });
    throw error;
  }
}

/**
 * `file:///path`: made, with its directories, when missing. INVALID_ARGUMENT for a link or a FIFO: whoever may write to
 * that directory must not choose which file gets the output, nor hold up everybody by a FIFO that nobody reads.
 */
export function openLogFile(path: string): Output {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  try {
    return new PlainOutput(openFileItself(path));
  } catch (error) {
    if (isErrno(error, 'ELOOP')) throw noLogFile(path, 'a symbolic link', error);
    if (isErrno(error, 'ENXIO')) throw noLogFile(path, 'a FIFO', error);
    throw error;
  }
}

function openFileItself(path: string): number {
  const file = openSync(path, APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK, MODE);
  try {
    if (fstatSync(file).isFIFO()) throw noLogFile(path, 'a FIFO');
    return reopen(file, APPEND);
  } finally {
    closeSync(file);
  }
}

const noLogFile = (path: string, what: string, cause?: unknown): Error =>
  invalidArgument(`log file "${path}" is ${what}`, { remedy: 'name a file; a FIFO is named without file://', cause });
