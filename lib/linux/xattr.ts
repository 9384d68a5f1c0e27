/**
 * Extended attributes (xattr(7)) of open files, and of names below an open
 * directory without following links.
 */
import { constants as os } from 'node:os';
import { type Path, settle, terminated } from './file.js';
import { libc } from './libc.js';

export const { ENODATA, EOPNOTSUPP, ERANGE, E2BIG } = os.errno;

const c: {
  fsetxattr(fd: number, name: Path, value: Uint8Array, size: number, flags: number): number;
  lsetxattr(path: Path, name: Path, value: Uint8Array, size: number, flags: number): number;
  fgetxattr(fd: number, name: Path, value: Uint8Array, size: number): number;
  lgetxattr(path: Path, name: Path, value: Uint8Array, size: number): number;
  flistxattr(fd: number, list: Uint8Array, size: number): number;
  llistxattr(path: Path, list: Uint8Array, size: number): number;
  fremovexattr(fd: number, name: Path): number;
} = {
  fsetxattr: libc.func('int fsetxattr(int, const char *, const void *, size_t, int)'),
  lsetxattr: libc.func('int lsetxattr(const char *, const char *, const void *, size_t, int)'),
  fgetxattr: libc.func('long fgetxattr(int, const char *, void *, size_t)'),
  lgetxattr: libc.func('long lgetxattr(const char *, const char *, void *, size_t)'),
  flistxattr: libc.func('long flistxattr(int, void *, size_t)'),
  llistxattr: libc.func('long llistxattr(const char *, void *, size_t)'),
  fremovexattr: libc.func('int fremovexattr(int, const char *)'),
};

/** Largest value and largest list the kernel knows (linux/limits.h). */
const XATTR_MAX = 65536;
const scratch = Buffer.alloc(XATTR_MAX);

/**
 * The path of an entry of an open directory, for calls that take no directory
 * descriptor. `name` is one component; the magic link leads to the directory
 * itself, and `l*xattr` do not follow what the name is.
 */
function within(dir: number, name: Path): Path {
  if (typeof name === 'string') return `/proc/self/fd/${dir}/${name}`;
  return Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), name]);
}

const names = (size: number): string[] =>
  scratch
    .toString('latin1', 0, size)
    .split('\0')
    .filter((name) => name !== '');

/** fsetxattr(2), replacing a former value. */
export function fsetxattr(fd: number, name: Path, value: Uint8Array, tolerate?: readonly number[]): number {
  return settle(c.fsetxattr(fd, terminated(name), value, value.length, 0), 'fsetxattr', name, tolerate);
}

/** lsetxattr(2) on an entry of the open directory `dir`, link or not. */
export function setxattrAt(
  dir: number,
  entry: Path,
  name: Path,
  value: Uint8Array,
  tolerate?: readonly number[],
): number {
  const path = within(dir, terminated(entry));
  return settle(c.lsetxattr(path, terminated(name), value, value.length, 0), 'lsetxattr', name, tolerate);
}

/** fgetxattr(2). Undefined when the attribute is not there or the filesystem has none. */
export function fgetxattr(fd: number, name: Path): Buffer | undefined {
  const absent = [ENODATA, EOPNOTSUPP];
  const size = settle(c.fgetxattr(fd, terminated(name), scratch, XATTR_MAX), 'fgetxattr', name, absent);
  return size < 0 ? undefined : Buffer.from(scratch.subarray(0, size));
}

/** lgetxattr(2) of an entry of the open directory `dir`. Undefined when the attribute is not there. */
export function getxattrAt(dir: number, entry: Path, name: Path): Buffer | undefined {
  const absent = [ENODATA, EOPNOTSUPP];
  const path = within(dir, terminated(entry));
  const size = settle(c.lgetxattr(path, terminated(name), scratch, XATTR_MAX), 'lgetxattr', name, absent);
  return size < 0 ? undefined : Buffer.from(scratch.subarray(0, size));
}

/** flistxattr(2): names as bytes, one per character. Empty where the filesystem has none. */
export function flistxattr(fd: number): string[] {
  const size = settle(c.flistxattr(fd, scratch, XATTR_MAX), 'flistxattr', String(fd), [EOPNOTSUPP]);
  return size < 0 ? [] : names(size);
}

/** llistxattr(2) of an entry of the open directory `dir`: names as bytes, one per character. */
export function listxattrAt(dir: number, entry: Path): string[] {
  const path = within(dir, terminated(entry));
  const size = settle(c.llistxattr(path, scratch, XATTR_MAX), 'llistxattr', entry, [EOPNOTSUPP]);
  return size < 0 ? [] : names(size);
}

/** fremovexattr(2). */
export function fremovexattr(fd: number, name: Path, tolerate?: readonly number[]): number {
  return settle(c.fremovexattr(fd, terminated(name)), 'fremovexattr', name, tolerate);
}
