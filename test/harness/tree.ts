/**
 * Describes directory trees so that two can be compared file by file: type,
 * mode, owner, size, mtime, content, link target, hard links, extended
 * attributes, device numbers. Names are byte strings (latin1).
 */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import {
  AT_FDCWD,
  close,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  openat,
  readlinkat,
} from '../../lib/linux/file.js';
import {
  fstat,
  readDirectory,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type Stat,
} from '../../lib/linux/stat.js';
import { getxattrAt, listxattrAt } from '../../lib/linux/xattr.js';

export interface TreeEntry {
  /** Relative to the root; empty for the root itself. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'other';
  /** Type and permission bits, in octal. */
  readonly mode: string;
  readonly owner: string;
  /** Bytes; of directories 0, since it depends on the filesystem. */
  readonly size: number;
  /** Nanoseconds since the epoch. */
  readonly mtime: bigint;
  /** SHA-256 of a file's bytes, target of a symlink, `major:minor` of a device. */
  readonly content: string;
  readonly nlink: number;
  /** The first path, in order, of the same file; empty for directories. */
  readonly linkedTo: string;
  /** Name and value in hex, sorted. */
  readonly xattrs: readonly string[];
}

export interface DescribeOptions {
  /** Leave the root out (its attributes often belong to whoever made it). */
  readonly withoutRoot?: boolean;
  /** Leave `user.overlay.*` and `trusted.overlay.*` attributes in, which belong to the storage form. */
  readonly overlayXattrs?: boolean;
}

const cString = (name: string): Buffer => Buffer.from(`${name}\0`, 'latin1');

const TYPES: ReadonlyMap<number, TreeEntry['type']> = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'character'],
  [S_IFBLK, 'block'],
]);

function hashFile(parent: number, name: string): string {
  const fd = openat(parent, cString(name), O_RDONLY | O_NOFOLLOW);
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(1 << 16);
  try {
    for (let size = readSync(fd, buffer); size > 0; size = readSync(fd, buffer)) hash.update(buffer.subarray(0, size));
  } finally {
    close(fd);
  }
  return hash.digest('hex');
}

function contentOf(parent: number, name: string, type: TreeEntry['type'], stat: Stat): string {
  if (type === 'file') return hashFile(parent, name);
  if (type === 'symlink') return readlinkat(parent, cString(name))?.toString('latin1') ?? '';
  if (type === 'character' || type === 'block') return `${stat.deviceMajor}:${stat.deviceMinor}`;
  return '';
}

const nanos = ({ seconds, nanos: rest }: Stat['mtime']): bigint => BigInt(seconds) * 1_000_000_000n + BigInt(rest);

class Describer {
  readonly entries: TreeEntry[] = [];
  readonly #first = new Map<string, string>();
  readonly #options: DescribeOptions;

  constructor(options: DescribeOptions) {
    this.#options = options;
  }

  /** `name` is one component below the open directory `parent`, or `.` for itself. */
  visit(parent: number, name: string, path: string): void {
    const fd = openat(parent, cString(name), O_PATH | O_NOFOLLOW);
    const stat = fstat(fd);
    close(fd);
    const type = TYPES.get(stat.mode & S_IFMT) ?? 'other';
    const inode = `${stat.filesystem} ${stat.inode}`;
    if (!this.#first.has(inode)) this.#first.set(inode, path);
    if (path !== '' || !this.#options.withoutRoot) {
      this.entries.push({
        path,
        type,
        mode: stat.mode.toString(8),
        owner: `${stat.uid}:${stat.gid}`,
        size: type === 'directory' ? 0 : stat.size,
        mtime: nanos(stat.mtime),
        content: contentOf(parent, name, type, stat),
        nlink: type === 'directory' ? 0 : stat.nlink,
        linkedTo: type === 'directory' ? '' : (this.#first.get(inode) ?? ''),
        xattrs: this.#xattrs(parent, name),
      });
    }
    if (type === 'directory') this.#descend(parent, name, path);
  }

  #descend(parent: number, name: string, path: string): void {
    const fd = openat(parent, cString(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const names = readDirectory(fd).map((entry) => entry.name);
      for (const child of names.sort()) this.visit(fd, child, path === '' ? child : `${path}/${child}`);
    } finally {
      close(fd);
    }
  }

  #xattrs(parent: number, name: string): string[] {
    const names = listxattrAt(parent, cString(name)).filter(
      (key) => this.#options.overlayXattrs || !/^(trusted|user)\.overlay\./.test(key),
    );
    const value = (key: string): string => getxattrAt(parent, cString(name), cString(key))?.toString('hex') ?? '';
    return names.map((key) => `${key}=${value(key)}`).sort();
  }
}

/** Everything below `root`, parents before children, siblings in order of their bytes. */
export function describeTree(root: string, options: DescribeOptions = {}): TreeEntry[] {
  const describer = new Describer(options);
  const fd = openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
  try {
    describer.visit(fd, '.', '');
  } finally {
    close(fd);
  }
  return describer.entries;
}

const show = (entry: TreeEntry | undefined): string =>
  entry === undefined
    ? 'absent'
    : JSON.stringify(entry, (_, value) => (typeof value === 'bigint' ? String(value) : value));

/**
 * The differences between two descriptions, one line each, at most `limit`;
 * none when the trees are equal. `ignore` names fields to leave out.
 */
export function treeDifferences(
  actual: readonly TreeEntry[],
  expected: readonly TreeEntry[],
  ignore: readonly (keyof TreeEntry)[] = [],
  limit = 20,
): string[] {
  const strip = (entry: TreeEntry): TreeEntry => ({
    ...entry,
    ...Object.fromEntries(ignore.map((key) => [key, undefined])),
  });
  const index = (entries: readonly TreeEntry[]): Map<string, TreeEntry> =>
    new Map(entries.map((entry) => [entry.path, strip(entry)]));
  const [left, right] = [index(actual), index(expected)];
  const paths = [...new Set([...left.keys(), ...right.keys()])].sort();
  return paths
    .filter((path) => show(left.get(path)) !== show(right.get(path)))
    .slice(0, limit)
    .map((path) => `"${path}": actual ${show(left.get(path))}, expected ${show(right.get(path))}`);
}

/** An entry in a line: `etc/`, `var/run -> /run`, a file with its size, a device with its number. */
export function brief({ path, type, content, size }: TreeEntry): string {
  if (type === 'directory') return `${path}/`;
  if (type === 'symlink') return `${path} -> ${content}`;
  return type === 'file' ? `${path} ${size}` : `${path} ${type} ${content}`;
}
