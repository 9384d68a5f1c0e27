/**
 * The C library by foreign function interface: the one place that loads it.
 * Each system call lives in a file of its theme (mount.ts, file.ts, ...), with
 * its man page named, and turns errno into the taxonomy through {@link check}.
 */
import { constants } from 'node:os';
import koffi from 'koffi';
import { KeelsonError } from '../../kernel/errors.js';
import { codeOfErrno } from '../errno.js';

export { koffi };

export const libc = koffi.load('libc.so.6');

// Where a number has two names, the one the man pages use.
const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
NAMES.set(constants.errno.EAGAIN, 'EAGAIN');

/** A failed system call: the taxonomy's code, and errno kept for callers that branch on it. */
export class SystemError extends KeelsonError {
  /** For example `ENOENT`. */
  readonly errno: string;

  constructor(call: string, subject: string, errno: number) {
    const name = NAMES.get(errno) ?? `errno ${errno}`;
    super(codeOfErrno(name), `${call} "${subject}": ${name}`);
    this.errno = name;
  }
}

/** Throws {@link SystemError} from errno when a call returned a negative value; else returns the value. */
export function check(result: number, call: string, subject: string): number {
  if (result < 0) throw new SystemError(call, subject, koffi.errno());
  return result;
}
