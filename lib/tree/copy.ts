/** Copying a directory tree so that nobody can tell the copy from it, inode numbers aside. */
import { constants } from 'node:fs';
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  close,
  fchmodat,
  fchownat,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDONLY,
  O_WRONLY,
  openat,
  readlinkat,
  symlinkat,
  utimensat,
} from '../linux/file.js';
import { fstat, lstatat, S_IFLNK, S_IFMT, S_IFREG, type Stat } from '../linux/stat.js';
import { EOPNOTSUPP, getxattrAt, listxattrAt, setxattrAt } from '../linux/xattr.js';
import { ContentCopier } from './content.js';
import { walkTree } from './walk.js';

const PERMISSIONS = 0o7777;
const HERE = Buffer.from('.\0');

const kindOf = (stat: Stat): number => stat.mode & S_IFMT;

/** Owner before mode and attributes: chown(2) clears the set-id bits and `security.capability`. Times last. */
function copyAttributes(from: number, to: number, name: Buffer, stat: Stat): void {
  fchownat(to, name, stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW);
  if (kindOf(stat) !== S_IFLNK) fchmodat(to, name, stat.mode & PERMISSIONS, 0);
  for (const attribute of listxattrAt(from, name)) {
    const key = Buffer.from(`${attribute}\0`, 'latin1');
    const value = getxattrAt(from, name, key);
    if (value !== undefined) setxattrAt(to, name, key, value, [EOPNOTSUPP]);
  }
  utimensat(to, name, stat.atime, stat.mtime, AT_SYMLINK_NOFOLLOW);
}

function* copyFile(
  from: number,
  to: number,
  name: Buffer,
  size: number,
  content: ContentCopier,
): Generator<void, void, void> {
  const source = openat(from, name, O_RDONLY | O_NOFOLLOW | constants.O_NOATIME);
  try {
    const target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      yield* content.copy(source, target, size);
    } finally {
      close(target);
    }
  } finally {
    close(source);
  }
}

function copySpecial(from: number, to: number, name: Buffer, stat: Stat): void {
  if (kindOf(stat) !== S_IFLNK) {
    mknodat(to, name, stat.mode & S_IFMT, makedev(stat.deviceMajor, stat.deviceMinor));
    return;
  }
  const text = readlinkat(from, name) ?? Buffer.alloc(0);
  symlinkat(Buffer.concat([text, Buffer.alloc(1)]), to, name);
}

/** The names of files that have several: the copy of the first one seen, by the original's identity. */
class LinkedFiles {
  readonly #first = new Map<string, { readonly path: Buffer }>();

  /** Links the name to the copy made before, if there is one. */
  link(root: number, to: number, name: Buffer, stat: Stat, path: () => Buffer): boolean {
    if (stat.nlink < 2) return false;
    const identity = `${stat.filesystem}:${stat.inode}`;
    const first = this.#first.get(identity);
    if (first === undefined) {
      this.#first.set(identity, { path: path() });
      return false;
    }
    linkat(root, first.path, to, name);
    return true;
  }
}

/** Where in the copy the walk is: a descriptor and a name for each directory entered. */
class Position {
  readonly #levels: { readonly directory: number; readonly name: Buffer }[] = [];

  constructor(readonly root: number) {}

  get directory(): number {
    return this.#levels.at(-1)?.directory ?? this.root;
  }

  enter(name: Buffer): void {
    const directory = openat(this.directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    this.#levels.push({ directory, name });
  }

  leave(): void {
    const level = this.#levels.pop();
    if (level) close(level.directory);
  }

  /** From the root of the copy to a name in the present directory, as bytes ending in NUL. */
  pathOf(name: Buffer): Buffer {
    const above = this.#levels.map((level) => Buffer.concat([level.name.subarray(0, -1), Buffer.from('/')]));
    return Buffer.concat([...above, name]);
  }

  closeAll(): void {
    while (this.#levels.length > 0) this.leave();
    close(this.root);
  }
}

/** Copies the tree `from` into the empty directory `to`; yields after each piece of work. */
export function* copying(from: string, to: string): Generator<void, void, void> {
  const position = new Position(openat(AT_FDCWD, to, O_RDONLY | O_DIRECTORY));
  const links = new LinkedFiles();
  const content = new ContentCopier();
  const pending: Stat[] = [];
  try {
    for (const { step, parent, name } of walkTree(from)) {
      if (step === 'leave') {
        position.leave();
        const stat = pending.pop();
        if (stat) copyAttributes(parent, position.directory, name, stat);
        continue;
      }
      const stat = lstatat(parent, name);
      if (stat === undefined) continue;
      if (step !== 'entry') {
        mkdirat(position.directory, name, 0o700);
        if (step === 'mount') {
          copyAttributes(parent, position.directory, name, stat);
          continue;
        }
        position.enter(name);
        pending.push(stat);
      } else if (!links.link(position.root, position.directory, name, stat, () => position.pathOf(name))) {
        if (kindOf(stat) === S_IFREG) yield* copyFile(parent, position.directory, name, stat.size, content);
        else copySpecial(parent, position.directory, name, stat);
        copyAttributes(parent, position.directory, name, stat);
      }
      yield;
    }
    copyRootAttributes(from, position.root);
  } finally {
    position.closeAll();
  }
}

function copyRootAttributes(from: string, to: number): void {
  const source = openat(AT_FDCWD, from, O_RDONLY | O_DIRECTORY);
  try {
    copyAttributes(source, to, HERE, fstat(source, from));
  } finally {
    close(source);
  }
}
