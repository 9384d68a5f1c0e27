/**
 * Owner, permissions and extended attributes of what is unpacked. The order
 * matters: chown(2) clears the setuid bits and `security.capability`.
 */
import { invalidArgument } from '../../../kernel/errors.js';
import { AT_SYMLINK_NOFOLLOW, EPERM, fchmod, fchmodat, fchown, fchownat, utimensat } from '../../../lib/linux/file.js';
import { S_IFLNK, S_IFMT, type Stat } from '../../../lib/linux/stat.js';
import {
  EOPNOTSUPP,
  flistxattr,
  fremovexattr,
  fsetxattr,
  getxattrAt,
  listxattrAt,
  setxattrAt,
} from '../../../lib/linux/xattr.js';
import type { TarEntry } from '../../../lib/tar/entry.js';
import { cString, secondCString, show } from './names.js';

/** Set-id and sticky bits. */
export const SPECIAL_BITS = 0o7000;
const PERMISSIONS = 0o7777;
/** The largest id; the one behind it means "do not change" to chown(2). */
const LAST_ID = 2 ** 32 - 2;

export type Xattrs = ReadonlyMap<string, Uint8Array>;

/** Told what of an archive was left out, and why. */
export type Warn = (message: string) => void;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** INVALID_ARGUMENT for an id that does not fit into 32 bits. */
export function checkOwner({ uid, gid }: Owner): void {
  for (const id of [uid, gid]) {
    if (!Number.isInteger(id) || id < 0 || id > LAST_ID) throw invalidArgument(`owner ${uid}:${gid} is out of range`);
  }
}

/**
 * Which attributes of an archive are set at all. Those of the overlay filesystem
 * would let a layer reach into others: they are never taken from an archive.
 */
export class XattrPolicy {
  readonly #overlayPrefix: string;
  readonly #warn: Warn;

  constructor(overlayPrefix: string, warn: Warn) {
    this.#overlayPrefix = overlayPrefix;
    this.#warn = warn;
  }

  /** Of a lower layer's attributes: all but the overlay's own. */
  copies(name: string): boolean {
    return !name.startsWith(this.#overlayPrefix) && !name.startsWith('trusted.overlay.');
  }

  /** The attributes of `entry` to set. */
  admit({ name, xattrs }: TarEntry): Xattrs {
    if (xattrs.size === 0) return xattrs;
    return new Map([...xattrs].filter(([key]) => this.#admits(name, key)));
  }

  #admits(entry: string, key: string): boolean {
    if (!key.startsWith('trusted.') && !key.startsWith(this.#overlayPrefix)) return true;
    this.#warn(`layer entry ${show(entry)}: attribute ${show(key)} ignored, it is not for archives to set`);
    return false;
  }

  /** Told that the filesystem has no such attribute. */
  unsupported(entry: string, key: string): void {
    this.#warn(`layer entry ${show(entry)}: attribute ${show(key)} ignored, the filesystem does not support it`);
  }
}

/** Sets attributes of an open file or directory. */
export function setXattrs(fd: number, entry: string, xattrs: Xattrs, policy: XattrPolicy): void {
  for (const [key, value] of xattrs) {
    if (fsetxattr(fd, cString(key), value, [EOPNOTSUPP]) < 0) policy.unsupported(entry, key);
  }
}

/** Sets attributes of a link, device or FIFO, of which the kernel refuses those in `user.`. */
export function setXattrsAt(dir: number, name: string, xattrs: Xattrs, policy: XattrPolicy): void {
  for (const [key, value] of xattrs) {
    const tolerate = key.startsWith('user.') ? [EOPNOTSUPP, EPERM] : [EOPNOTSUPP];
    const result = setxattrAt(dir, cString(name), secondCString(key), value, tolerate);
    if (result < 0) policy.unsupported(name, key);
  }
}

const KEPT_ON_REPLACE = 'security.selinux';

/** Takes away what the layer's entry for an existing directory does not list. */
export function dropOtherXattrs(fd: number, xattrs: Xattrs): void {
  for (const key of flistxattr(fd)) {
    const stays = xattrs.has(key) || key.startsWith('trusted.') || key === KEPT_ON_REPLACE;
    if (!stays) fremovexattr(fd, cString(key), [EOPNOTSUPP]);
  }
}

/** Owner and permissions of an open directory. */
export function setDirectoryAttributes(fd: number, owner: Owner, mode: number): void {
  fchown(fd, owner.uid, owner.gid);
  fchmod(fd, mode & PERMISSIONS);
}

export interface NodeAttributes extends Owner {
  readonly mode: number;
  readonly atime: Stat['atime'];
  readonly mtime: Stat['mtime'];
}

/** Everything about a link, device or FIFO that was just made; a link at the name is never followed. */
export function setNodeAttributes(
  dir: number,
  name: string,
  { uid, gid, mode, atime, mtime }: NodeAttributes,
  isLink: boolean,
): void {
  fchownat(dir, cString(name), uid, gid, AT_SYMLINK_NOFOLLOW);
  if (!isLink) fchmodat(dir, cString(name), mode & PERMISSIONS, AT_SYMLINK_NOFOLLOW);
  utimensat(dir, cString(name), atime, mtime, AT_SYMLINK_NOFOLLOW);
}

/** Attributes of what is called `name` in the directory `dir` of a lower layer. */
export function lowerXattrs(dir: number, name: string, policy: XattrPolicy): Xattrs {
  const keys = listxattrAt(dir, cString(name)).filter((key) => policy.copies(key));
  const pairs = keys.map((key) => [key, getxattrAt(dir, cString(name), secondCString(key))] as const);
  return new Map(pairs.flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const])));
}

export const isLinkMode = (mode: number): boolean => (mode & S_IFMT) === S_IFLNK;
