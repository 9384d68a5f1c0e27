/** Whether two entries of two trees are the same, as containerd decides it. */
import { readSync } from 'node:fs';
import { close, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, openat, readlinkat } from '../../../lib/linux/file.js';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type Stat } from '../../../lib/linux/stat.js';
import { getxattrAt, listxattrAt } from '../../../lib/linux/xattr.js';
import { cString, secondCString } from '../unpack/names.js';

export interface Entry {
  /** Descriptor of the directory that holds it. */
  readonly parent: number;
  readonly name: string;
  readonly stat: Stat;
}

/** Attributes that belong to this host or to the snapshotter, not to the tree. */
const LOCAL = /^(?:trusted\.|user\.overlay\.|security\.(?:selinux|ima|evm)$)/;

/** The extended attributes that a layer shall carry. */
export function layerXattrs({ parent, name }: Entry): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const key of listxattrAt(parent, cString(name))) {
    const value = LOCAL.test(key) ? undefined : getxattrAt(parent, cString(name), secondCString(key));
    if (value !== undefined) found.set(key, value);
  }
  return found;
}

function sameXattrs(a: Entry, b: Entry): boolean {
  const [left, right] = [layerXattrs(a), layerXattrs(b)];
  return left.size === right.size && [...left].every(([key, value]) => right.get(key)?.equals(value));
}

function sameAttributes({ stat: a }: Entry, { stat: b }: Entry): boolean {
  const type = a.mode & S_IFMT;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  const sameDevice = a.deviceMajor === b.deviceMajor && a.deviceMinor === b.deviceMinor;
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && (!isDevice || sameDevice);
}

const PIECE = 256 * 1024;
const pieces = [Buffer.alloc(PIECE), Buffer.alloc(PIECE)] as const;

function* sameBytes(a: Entry, b: Entry): Generator<undefined, boolean, void> {
  const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  const left = openat(a.parent, cString(a.name), flags);
  try {
    const right = openat(b.parent, cString(b.name), flags);
    try {
      for (;;) {
        const size = readSync(left, pieces[0]);
        if (size !== readSync(right, pieces[1]) || pieces[0].compare(pieces[1], 0, size, 0, size) !== 0) return false;
        if (size === 0) return true;
        yield;
      }
    } finally {
      close(right);
    }
  } finally {
    close(left);
  }
}

const targetOf = ({ parent, name }: Entry): string => readlinkat(parent, cString(name))?.toString('latin1') ?? '';

/** Times in whole seconds on both sides may have been cut: then what the files hold decides. */
function* sameData(a: Entry, b: Entry): Generator<undefined, boolean, void> {
  const [before, after] = [a.stat.mtime, b.stat.mtime];
  if (a.stat.size !== b.stat.size || before.seconds !== after.seconds || before.nanos !== after.nanos) return false;
  if (before.nanos !== 0) return true;
  const type = a.stat.mode & S_IFMT;
  if (type === S_IFLNK) return targetOf(a) === targetOf(b);
  return type !== S_IFREG || a.stat.size === 0 || (yield* sameBytes(a, b));
}

/** Of directories only the attributes count: their times change with what is in them. */
export function* sameEntry(a: Entry, b: Entry): Generator<undefined, boolean, void> {
  if (a.stat.filesystem === b.stat.filesystem && a.stat.inode === b.stat.inode) return true;
  if (!sameAttributes(a, b) || !sameXattrs(a, b)) return false;
  return (a.stat.mode & S_IFMT) === S_IFDIR || (yield* sameData(a, b));
}
