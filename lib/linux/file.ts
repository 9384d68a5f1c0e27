/**
 * Files by directory descriptor: what Node's fs lacks and safe unpacking
 * needs. Every call is synchronous and takes a directory descriptor (or
 * {@link AT_FDCWD}) and a path. A path is text, passed as UTF-8, or raw bytes
 * that end in NUL, since names from images are bytes.
 *
 * A failed call throws {@link SystemError}, except for the errno values the
 * caller tolerates: then it returns that errno, negated.
 */
import { constants as fs } from 'node:fs';
import { constants as os } from 'node:os';
import { koffi, libc, SystemError } from './libc.js';

/** Text (UTF-8), or a C string: bytes that end in NUL. */
export type Path = string | Uint8Array;

/** The current directory, in place of a directory descriptor. */
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

/** open(2) flags; those that differ between architectures come from Node. */
export const O_RDONLY = fs.O_RDONLY;
export const O_WRONLY = fs.O_WRONLY;
export const O_RDWR = fs.O_RDWR;
export const O_CREAT = fs.O_CREAT;
export const O_EXCL = fs.O_EXCL;
export const O_TRUNC = fs.O_TRUNC;
export const O_APPEND = fs.O_APPEND;
export const O_NONBLOCK = fs.O_NONBLOCK;
export const O_DIRECTORY = fs.O_DIRECTORY;
export const O_NOFOLLOW = fs.O_NOFOLLOW;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

/** openat2(2) resolution rules. */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

/** sync_file_range(2). */
const SYNC_FILE_RANGE_WRITE = 2;

export const { ENOENT, EEXIST, ENOTDIR, EISDIR, ELOOP, EXDEV, EINVAL, EPERM, ENOTEMPTY, ENOSYS } = os.errno;

const NONE: readonly number[] = [];

const text = (path: Path): string =>
  typeof path === 'string' ? path : Buffer.from(path.subarray(0, -1)).toString('utf8');

/** The result, or a tolerated errno negated; else throws. */
export function settle(result: number, call: string, subject: Path, tolerate: readonly number[] = NONE): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  if (tolerate.includes(errno)) return -errno;
  throw new SystemError(call, text(subject), errno);
}

/** Refuses bytes that the C library would read past the end of. */
export function terminated(path: Path): Path {
  if (typeof path === 'string' ? !path.includes('\0') : path[path.length - 1] === 0) return path;
  throw new TypeError('a path holds a NUL character, or its bytes do not end in one');
}

const c: {
  openat(dir: number, path: Path, flags: number, mode: number): number;
  close(fd: number): number;
  mkdirat(dir: number, path: Path, mode: number): number;
  mknodat(dir: number, path: Path, mode: number, device: bigint): number;
  linkat(oldDir: number, old: Path, dir: number, path: Path, flags: number): number;
  symlinkat(target: Path, dir: number, path: Path): number;
  renameat(oldDir: number, old: Path, dir: number, path: Path): number;
  readlinkat(dir: number, path: Path, buffer: Uint8Array, size: number): number;
  unlinkat(dir: number, path: Path, flags: number): number;
  fchownat(dir: number, path: Path, uid: number, gid: number, flags: number): number;
  fchown(fd: number, uid: number, gid: number): number;
  fchmodat(dir: number, path: Path, mode: number, flags: number): number;
  fchmod(fd: number, mode: number): number;
  utimensat(dir: number, path: Path, times: Uint8Array, flags: number): number;
  futimens(fd: number, times: Uint8Array): number;
  write(fd: number, address: number | bigint, length: number): number;
  pwrite(fd: number, address: number | bigint, length: number, offset: number): number;
  ftruncate(fd: number, length: number): number;
  fsync(fd: number): number;
  fdatasync(fd: number): number;
  sync_file_range(fd: number, offset: number, length: number, flags: number): number;
  unshare(flags: number): number;
  umask(mask: number): number;
} = {
  openat: libc.func('int openat(int, const char *, int, uint32)'),
  close: libc.func('int close(int)'),
  mkdirat: libc.func('int mkdirat(int, const char *, uint32)'),
  mknodat: libc.func('int mknodat(int, const char *, uint32, uint64)'),
  linkat: libc.func('int linkat(int, const char *, int, const char *, int)'),
  symlinkat: libc.func('int symlinkat(const char *, int, const char *)'),
  renameat: libc.func('int renameat(int, const char *, int, const char *)'),
  readlinkat: libc.func('long readlinkat(int, const char *, void *, size_t)'),
  unlinkat: libc.func('int unlinkat(int, const char *, int)'),
  fchownat: libc.func('int fchownat(int, const char *, uint32, uint32, int)'),
  fchown: libc.func('int fchown(int, uint32, uint32)'),
  fchmodat: libc.func('int fchmodat(int, const char *, uint32, int)'),
  fchmod: libc.func('int fchmod(int, uint32)'),
  utimensat: libc.func('int utimensat(int, const char *, void *, int)'),
  futimens: libc.func('int futimens(int, void *)'),
  write: libc.func('long write(int, uintptr, size_t)'),
  pwrite: libc.func('long pwrite64(int, uintptr, size_t, int64)'),
  ftruncate: libc.func('int ftruncate64(int, int64)'),
  fsync: libc.func('int fsync(int)'),
  fdatasync: libc.func('int fdatasync(int)'),
  sync_file_range: libc.func('int sync_file_range(int, int64, int64, uint32)'),
  unshare: libc.func('int unshare(int)'),
  umask: libc.func('uint32 umask(uint32)'),
};

const SYS_OPENAT2 = 437;
const openat2Syscall: (nr: number, dir: number, path: Path, how: Uint8Array, size: number) => number = libc.func(
  'long syscall(long, int, const char *, void *, size_t)',
);
const how = Buffer.alloc(24);

/** open(2). `mode` matters with {@link O_CREAT} only, and the umask is taken off it. */
export function openat(dir: number, path: Path, flags: number, mode = 0, tolerate = NONE): number {
  return settle(c.openat(dir, terminated(path), flags | O_CLOEXEC, mode), 'openat', path, tolerate);
}

/** openat2(2): opens under rules on how the path may resolve (`RESOLVE_*`), which the kernel enforces. */
export function openat2(dir: number, path: Path, flags: number, resolve: number, tolerate = NONE): number {
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  return settle(openat2Syscall(SYS_OPENAT2, dir, terminated(path), how, how.length), 'openat2', path, tolerate);
}

/** close(2). */
export function close(fd: number): void {
  settle(c.close(fd), 'close', String(fd));
}

/** mkdir(2); the umask is taken off `mode`. */
export function mkdirat(dir: number, path: Path, mode: number, tolerate = NONE): number {
  return settle(c.mkdirat(dir, terminated(path), mode), 'mkdirat', path, tolerate);
}

/** makedev(3): both numbers 0 to 2^32 - 1. */
export function makedev(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & 0xfffn) << 8n) | ((high & ~0xfffn) << 32n) | (low & 0xffn) | ((low & ~0xffn) << 12n);
}

/** mknod(2). `mode` holds the type (`S_IFCHR`, ...) too. */
export function mknodat(dir: number, path: Path, mode: number, device: bigint, tolerate = NONE): number {
  return settle(c.mknodat(dir, terminated(path), mode, device), 'mknodat', path, tolerate);
}

/** link(2). Never follows a link at `old` unless `flags` holds {@link AT_SYMLINK_FOLLOW}. */
export function linkat(oldDir: number, old: Path, dir: number, path: Path, flags = 0, tolerate = NONE): number {
  return settle(c.linkat(oldDir, terminated(old), dir, terminated(path), flags), 'linkat', path, tolerate);
}

/** symlink(2). `target` is kept byte by byte. */
export function symlinkat(target: Path, dir: number, path: Path, tolerate = NONE): number {
  return settle(c.symlinkat(terminated(target), dir, terminated(path)), 'symlinkat', path, tolerate);
}

/** rename(2). Follows no link at either name. */
export function renameat(oldDir: number, old: Path, dir: number, path: Path, tolerate = NONE): number {
  return settle(c.renameat(oldDir, terminated(old), dir, terminated(path)), 'renameat', old, tolerate);
}

const linkText = Buffer.alloc(4096);

/** readlink(2). An empty `path` reads the link that `dir` itself is. Undefined for a tolerated error. */
export function readlinkat(dir: number, path: Path, tolerate = NONE): Buffer | undefined {
  const size = settle(c.readlinkat(dir, terminated(path), linkText, linkText.length), 'readlinkat', path, tolerate);
  return size < 0 ? undefined : Buffer.from(linkText.subarray(0, size));
}

/** unlink(2), or rmdir(2) with {@link AT_REMOVEDIR}. */
export function unlinkat(dir: number, path: Path, flags = 0, tolerate = NONE): number {
  return settle(c.unlinkat(dir, terminated(path), flags), 'unlinkat', path, tolerate);
}

/** chown(2); never follows a link at `path` with {@link AT_SYMLINK_NOFOLLOW}. */
export function fchownat(dir: number, path: Path, uid: number, gid: number, flags: number): void {
  settle(c.fchownat(dir, terminated(path), uid, gid, flags), 'fchownat', path);
}

/** fchown(2). */
export function fchown(fd: number, uid: number, gid: number, subject: Path = String(fd)): void {
  settle(c.fchown(fd, uid, gid), 'fchown', subject);
}

/** chmod(2); with {@link AT_SYMLINK_NOFOLLOW} a link is refused (EOPNOTSUPP). */
export function fchmodat(dir: number, path: Path, mode: number, flags: number): void {
  settle(c.fchmodat(dir, terminated(path), mode, flags), 'fchmodat', path);
}

/** fchmod(2). */
export function fchmod(fd: number, mode: number, subject: Path = String(fd)): void {
  settle(c.fchmod(fd, mode), 'fchmod', subject);
}

/** A moment: whole seconds since the epoch (may be negative) and 0 to 999 999 999 nanoseconds. */
export interface Timespec {
  readonly seconds: number;
  readonly nanos: number;
}

const times = Buffer.alloc(32);

function putTime({ seconds, nanos }: Timespec, offset: number): void {
  times.writeUInt32LE(seconds >>> 0, offset);
  times.writeInt32LE(Math.floor(seconds / 2 ** 32), offset + 4);
  times.writeUInt32LE(nanos, offset + 8);
}

/** utimensat(2). */
export function utimensat(dir: number, path: Path, atime: Timespec, mtime: Timespec, flags: number): void {
  putTime(atime, 0);
  putTime(mtime, 16);
  settle(c.utimensat(dir, terminated(path), times, flags), 'utimensat', path);
}

/** futimens(3). */
export function futimens(fd: number, atime: Timespec, mtime: Timespec, subject: Path = String(fd)): void {
  putTime(atime, 0);
  putTime(mtime, 16);
  settle(c.futimens(fd, times), 'futimens', subject);
}

/** Address of a buffer's first byte. Valid as long as the buffer is referenced and not resized or transferred. */
export const addressOf = (buffer: Uint8Array): number => Number(koffi.address(buffer));

/** write(2) of memory by address, repeated until all `length` bytes are written. */
export function writeAll(fd: number, address: number, length: number, subject: Path = String(fd)): void {
  for (let done = 0; done < length; ) done += settle(c.write(fd, address + done, length - done), 'write', subject);
}

/** pwrite(2) of memory by address at `offset`, repeated until all `length` bytes are written. */
export function pwriteAll(fd: number, address: number, length: number, offset: number, subject: Path): void {
  for (let done = 0; done < length; )
    done += settle(c.pwrite(fd, address + done, length - done, offset + done), 'pwrite', subject);
}

const RWF_NOWAIT = 8;
const EAGAIN = os.errno.EAGAIN;
const EOPNOTSUPP = os.errno.EOPNOTSUPP;
const preadv2: (fd: number, vector: Uint8Array, count: number, offset: number, flags: number) => number = libc.func(
  'long preadv2(int, void *, int, int64, int)',
);
const vector = Buffer.alloc(16);

/**
 * Reads what of the file is in memory, without ever waiting for the disk (preadv2(2) with
 * RWF_NOWAIT). The bytes read; 0 when the first of them is not there, at the end of the
 * file, and where the filesystem cannot tell.
 */
export function readCached(fd: number, target: Uint8Array, offset: number, subject: Path = String(fd)): number {
  vector.writeBigUInt64LE(BigInt(koffi.address(target)), 0);
  vector.writeBigUInt64LE(BigInt(target.byteLength), 8);
  const read = preadv2(fd, vector, 1, offset, RWF_NOWAIT);
  return Math.max(0, settle(read, 'preadv2', subject, [EAGAIN, EOPNOTSUPP]));
}

/** ftruncate(2). */
export function ftruncate(fd: number, length: number, subject: Path = String(fd)): void {
  settle(c.ftruncate(fd, length), 'ftruncate', subject);
}

/** fsync(2); blocks the calling thread. */
export function fsync(fd: number, subject: Path = String(fd)): void {
  settle(c.fsync(fd), 'fsync', subject);
}

/** fdatasync(2); blocks the calling thread. */
export function fdatasync(fd: number, subject: Path = String(fd)): void {
  settle(c.fdatasync(fd), 'fdatasync', subject);
}

const syncfsCall = libc.func('syncfs', 'int', ['int']);

/** syncfs(2) of the filesystem that holds the open file `fd`, without blocking the calling thread. */
export function syncfsInBackground(fd: number, subject: Path = String(fd)): Promise<void> {
  return new Promise((resolve, reject) => {
    syncfsCall.async(fd, (failure: Error | null, result: number) => {
      if (failure) reject(failure);
      else if (result < 0) reject(new SystemError('syncfs', text(subject), koffi.errno()));
      else resolve();
    });
  });
}

/** sync_file_range(2): starts writing back a range without waiting for it. */
export function startWriteback(fd: number, offset: number, length: number, subject: Path = String(fd)): void {
  settle(c.sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE), 'sync_file_range', subject);
}

const CLONE_FS = 0x200;

/**
 * Sets the umask of the calling thread alone, by unsharing the thread's
 * filesystem attributes first (unshare(2) with CLONE_FS, umask(2)). For worker
 * threads: the rest of the process keeps its umask. Returns the former mask.
 */
export function setThreadUmask(mask: number): number {
  settle(c.unshare(CLONE_FS), 'unshare', 'CLONE_FS');
  return c.umask(mask);
}
