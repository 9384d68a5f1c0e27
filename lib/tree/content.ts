/** Copying the bytes of a file: shared where the filesystem can, holes kept. */
import { readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { ftruncate } from '../linux/file.js';
import { koffi, libc, SystemError } from '../linux/libc.js';

const lseek: (fd: number, offset: number, whence: number) => number = libc.func('lseek64', 'int64', [
  'int',
  'int64',
  'int',
]);
const copyFileRange: (
  from: number,
  fromOffset: BigInt64Array,
  to: number,
  toOffset: BigInt64Array,
  length: number,
  flags: number,
) => number = libc.func('copy_file_range', 'long', ['int', 'void *', 'int', 'void *', 'size_t', 'uint']);
const ioctl: (fd: number, request: number, value: number) => number = libc.func('ioctl', 'int', [
  'int',
  'ulong',
  'int',
]);

/** ioctl_ficlone(2). */
const FICLONE = 0x4004_9409;
/** lseek(2). */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

const PIECE = 1024 * 1024;

const { EBADF, EINVAL, ENOSYS, ENOTTY, ENXIO, EOPNOTSUPP, ETXTBSY, EXDEV } = constants.errno;

/** Errors with which a filesystem says that it cannot do this; anything else is a failure. */
const CANNOT: readonly number[] = [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, ENOTTY, ETXTBSY, EBADF];

/** The result of a call; -1 when it failed with one of the errors; throws for others. */
function unless(errors: readonly number[], result: number, call: string, fd: number): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  if (errors.includes(errno)) return -1;
  throw new SystemError(call, `/proc/self/fd/${fd}`, errno);
}

/** The next stretch of data at or after `offset`; undefined when only a hole is left. */
function nextData(source: number, offset: number, size: number): { start: number; end: number } | undefined {
  const start = unless([ENXIO, EINVAL], lseek(source, offset, SEEK_DATA), 'lseek', source);
  if (start < 0) return koffi.errno() === ENXIO ? undefined : { start: offset, end: size };
  const end = unless([], lseek(source, start, SEEK_HOLE), 'lseek', source);
  return { start, end: Math.min(end, size) };
}

const buffer = Buffer.alloc(PIECE);

function copyByBuffer(source: number, target: number, offset: number, length: number): number {
  const read = readSync(source, buffer, 0, length, offset);
  for (let done = 0; done < read; ) done += writeSync(target, buffer, done, read - done, offset + done);
  return read;
}

/** Bytes copied, at most a piece; 0 at the end of the source. */
function copyPiece(source: number, target: number, offset: number, length: number): number {
  const at = BigInt(offset);
  const offsets = [new BigInt64Array([at]), new BigInt64Array([at])] as const;
  const result = copyFileRange(source, offsets[0], target, offsets[1], length, 0);
  const copied = unless(CANNOT, result, 'copy_file_range', target);
  return copied >= 0 ? copied : copyByBuffer(source, target, offset, length);
}

/** Copies files of one filesystem to another, or the same, and remembers what these can do. */
export class ContentCopier {
  #clones = true;

  /** Fills the empty file `target` with the `size` bytes of `source`; yields after each piece. */
  *copy(source: number, target: number, size: number): Generator<void, void, void> {
    if (size === 0 || this.#cloned(source, target)) return;
    ftruncate(target, size);
    for (let data = nextData(source, 0, size); data; data = nextData(source, data.end, size)) {
      for (let at = data.start; at < data.end; ) {
        const copied = copyPiece(source, target, at, Math.min(PIECE, data.end - at));
        if (copied === 0) return;
        at += copied;
        yield;
      }
      if (data.end >= size) return;
    }
  }

  /** True when the target shares the source's blocks now: btrfs, XFS, bcachefs. */
  #cloned(source: number, target: number): boolean {
    if (this.#clones) this.#clones = unless(CANNOT, ioctl(target, FICLONE, source), 'ioctl FICLONE', target) === 0;
    return this.#clones;
  }
}

/** As {@link ContentCopier.copy}, of one file alone. */
export const copyContent = (source: number, target: number, size: number): Generator<void, void, void> =>
  new ContentCopier().copy(source, target, size);
