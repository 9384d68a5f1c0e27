/** Pipes with and without a name: mkfifo(3), pipe(2), fifo(7). */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { invalidArgument } from '../../kernel/errors.js';
import { check, libc } from './libc.js';

const O_CLOEXEC = 0x8_0000;
const FIONREAD = 0x541b;

const mkfifo = libc.func('mkfifo', 'int', ['str', 'uint']);
const pipe2 = libc.func('pipe2', 'int', ['void *', 'int']);
const ioctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);

/** Makes a FIFO. ALREADY_EXISTS, NOT_FOUND (its directory), ... */
export function makeFifo(path: string, mode = 0o600): void {
  check(mkfifo(path, mode), 'mkfifo', path);
}

/** An anonymous pipe; both ends block and are closed in children. */
export function makePipe(): { readonly read: number; readonly write: number } {
  const ends = new Int32Array(2);
  check(pipe2(ends, O_CLOEXEC), 'pipe', '');
  return { read: ends[0] ?? -1, write: ends[1] ?? -1 };
}

/**
 * Opens both ends of a FIFO as one descriptor, which never blocks: neither the
 * opening, though nobody else has it open, nor reading and writing. While it
 * is held no writer gets EPIPE and no reader end of file.
 *
 * INVALID_ARGUMENT when the path is something else; NOT_FOUND.
 */
export function holdFifo(path: string): number {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw invalidArgument(`open "${path}": not a FIFO`);
}

/** Opens the same FIFO once more, blocking, with `O_RDONLY`, `O_WRONLY` or `O_RDWR`; at once while `held` is open. */
export const reopen = (held: number, flags: number): number => openSync(`/proc/self/fd/${held}`, flags);

/** Bytes in the pipe that nobody has read yet. */
export function unreadBytes(fd: number): number {
  const count = new Int32Array(1);
  check(ioctl(fd, FIONREAD, count), 'ioctl FIONREAD', String(fd));
  return count[0] ?? 0;
}
