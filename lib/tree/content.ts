/** Copying the bytes of a file: shared where the filesystem can, holes kept. */
import { readSync, writeSync } from 'node:fs';
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

/** Errors with which a filesystem says that it cannot do this; anything else is a failure. */
const CANNOT: readonly string[] = ['EXDEV', 'EINVAL', 'ENOSYS', 'EOPNOTSUPP', 'ENOTTY', 'ETXTBSY', 'EBADF'];

const failure = (call: string, fd: number): SystemError => new SystemError(call, String(fd), koffi.errno());

/** True when the target shares the source's blocks now: btrfs, XFS, bcachefs. */
function cloned(source: number, target: number): boolean {
  if (ioctl(target, FICLONE, source) === 0) return true;
  const error = failure('ioctl FICLONE', target);
  if (CANNOT.includes(error.errno)) return false;
  throw error;
}

/** The next stretch of data at or after `offset`; undefined when only a hole is left. */
function nextData(source: number, offset: number, size: number): { start: number; end: number } | undefined {
  const start = lseek(source, offset, SEEK_DATA);
  if (start < 0) {
    const error = failure('lseek SEEK_DATA', source);
    if (error.errno === 'ENXIO') return undefined;
    if (CANNOT.includes(error.errno)) return { start: offset, end: size };
    throw error;
  }
  const end = lseek(source, start, SEEK_HOLE);
  if (end < 0) throw failure('lseek SEEK_HOLE', source);
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
  const copied = copyFileRange(source, new BigInt64Array([at]), target, new BigInt64Array([at]), length, 0);
  if (copied >= 0) return copied;
  const error = failure('copy_file_range', target);
  if (CANNOT.includes(error.errno)) return copyByBuffer(source, target, offset, length);
  throw error;
}

/** Fills the empty file `target` with the `size` bytes of `source`; yields after each piece. */
export function* copyContent(source: number, target: number, size: number): Generator<void, void, void> {
  if (size === 0 || cloned(source, target)) return;
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
