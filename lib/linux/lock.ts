/** Locks that end with their holder: flock(2). */
import { closeSync, constants, openSync } from 'node:fs';
import { check, libc, SystemError } from './libc.js';

const LOCK_EX = 2;
const LOCK_NB = 4;

const flock = libc.func('flock', 'int', ['int', 'int']);

/**
 * Takes the exclusive lock of a file, which is made when missing. Returns how
 * to let go of it (the process's end does too), or undefined when it is taken.
 */
export function lockFile(path: string): (() => void) | undefined {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    check(flock(fd, LOCK_EX | LOCK_NB), 'lock', path);
  } catch (error) {
    closeSync(fd);
    if (error instanceof SystemError && error.errno === 'EAGAIN') return undefined;
    throw error;
  }
  return () => closeSync(fd);
}
