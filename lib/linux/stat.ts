/** File attributes (statx(2)) and directory listings (getdents64(2)) by descriptor, names as bytes. */
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, type Path, settle, type Timespec, terminated } from './file.js';
import { libc } from './libc.js';

export const S_IFMT = 0o170000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export interface Stat {
  /** Type (`S_IF*`) and permissions. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly inode: bigint;
  /** Bytes. */
  readonly size: number;
  /** Bytes on disk. */
  readonly allocated: number;
  readonly atime: Timespec;
  readonly mtime: Timespec;
  /** When anything of it changed last. */
  readonly ctime: Timespec;
  /** Of a device node. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** The filesystem the file is on: `major:minor`. */
  readonly filesystem: string;
}

const statxCall: (dir: number, path: Path, flags: number, mask: number, buffer: Uint8Array) => number = libc.func(
  'int statx(int, const char *, int, uint32, void *)',
);
const getdents64: (fd: number, buffer: Uint8Array, size: number) => number = libc.func(
  'long getdents64(int, void *, size_t)',
);

const STATX_BASIC_STATS = 0x7ff;
const buffer = Buffer.alloc(256);

const time = (offset: number): Timespec => ({
  seconds: Number(buffer.readBigInt64LE(offset)),
  nanos: buffer.readUInt32LE(offset + 8),
});

// Offsets of struct statx, the same on every architecture.
const decode = (): Stat => ({
  nlink: buffer.readUInt32LE(16),
  uid: buffer.readUInt32LE(20),
  gid: buffer.readUInt32LE(24),
  mode: buffer.readUInt16LE(28),
  inode: buffer.readBigUInt64LE(32),
  size: Number(buffer.readBigUInt64LE(40)),
  allocated: Number(buffer.readBigUInt64LE(48)) * 512,
  atime: time(64),
  mtime: time(112),
  ctime: time(96),
  deviceMajor: buffer.readUInt32LE(128),
  deviceMinor: buffer.readUInt32LE(132),
  filesystem: `${buffer.readUInt32LE(136)}:${buffer.readUInt32LE(140)}`,
});

/** Attributes of `path` below `dir`; never follows a link at its end. Undefined for a tolerated error. */
export function lstatat(dir: number, path: Path, tolerate?: readonly number[]): Stat | undefined {
  const result = statxCall(dir, terminated(path), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, buffer);
  return settle(result, 'statx', path, tolerate) < 0 ? undefined : decode();
}

/** Attributes of an open file, `O_PATH` ones included. */
export function fstat(fd: number, subject: Path = String(fd)): Stat {
  settle(statxCall(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, buffer), 'statx', subject);
  return decode();
}

export interface DirectoryEntry {
  /** The name's bytes, one per character (`latin1`). */
  readonly name: string;
  /** A `DT_*` value; 0 when the filesystem does not tell. */
  readonly type: number;
}

export const DT_UNKNOWN = 0;
export const DT_DIR = 4;

const records = Buffer.alloc(32 * 1024);

/** The entries among the first `size` bytes of {@link records}, `.` and `..` left out. */
function* entriesOf(size: number): Generator<DirectoryEntry> {
  for (let at = 0; at < size; at += records.readUInt16LE(at + 16)) {
    const name = records.toString('latin1', at + 19, records.indexOf(0, at + 19));
    if (name !== '.' && name !== '..') yield { name, type: records.readUInt8(at + 18) };
  }
}

/**
 * What the directory holds, `.` and `..` left out, in the filesystem's order, from the
 * descriptor's position on: in lists as the kernel hands them out, for directories of any size.
 */
export function* readDirectoryInParts(fd: number, subject: Path = String(fd)): Generator<DirectoryEntry[], void, void> {
  for (;;) {
    const size = settle(getdents64(fd, records, records.length), 'getdents64', subject);
    if (size === 0) return;
    yield [...entriesOf(size)];
  }
}

/** As {@link readDirectoryInParts}, all at once. */
export const readDirectory = (fd: number, subject: Path = String(fd)): DirectoryEntry[] =>
  [...readDirectoryInParts(fd, subject)].flat();
