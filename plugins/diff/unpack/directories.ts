/**
 * Open directories of the tree that is being written. Every directory is
 * reached from the root's descriptor by openat2(2) with rules that the kernel
 * enforces: beneath it, through no link, over no mount point. So nothing that
 * an archive puts into the tree leads out of it.
 */
import {
  AT_FDCWD,
  close,
  ELOOP,
  ENOENT,
  ENOTDIR,
  futimens,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  type Timespec,
} from '../../../lib/linux/file.js';
import { fstat, type Stat } from '../../../lib/linux/stat.js';
import { fgetxattr } from '../../../lib/linux/xattr.js';
import { cString, join } from './names.js';

const S_ISGID = 0o2000;
const INSIDE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
const ABSENT = [ENOENT, ENOTDIR, ELOOP];

/** Descriptors kept open; a directory in use is always among the last few. */
const KEPT = 64;
/** Modification times held in memory before they are written. */
const TIMES = 65_536;

export interface Directory {
  readonly fd: number;
  /** From the root, through no link. */
  readonly path: string;
  /** True when what is created here gets owner 0:0 and exactly the mode asked for. */
  readonly isPlain: boolean;
}

export class Directories {
  readonly root: Directory;
  readonly #open = new Map<string, Directory>();
  readonly #times = new Map<string, Timespec>();

  /** Throws SystemError when `root` is no directory. */
  constructor(root: string) {
    const fd = openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
    const stat = fstat(fd);
    this.root = { fd, path: '', isPlain: isPlain(fd, stat) };
    this.#times.set('', stat.mtime);
  }

  /** The directory at `path`; undefined when there is none, a link at any place counting as none. */
  at(path: string): Directory | undefined {
    if (path === '') return this.root;
    const known = this.#used(path);
    if (known) return known;
    const fd = openat2(this.root.fd, cString(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, INSIDE, ABSENT);
    return fd < 0 ? undefined : this.#adopt(fd, path);
  }

  /** The directory `name` in `parent`; undefined when there is none, or something else. */
  child(parent: Directory, name: string): Directory | undefined {
    const path = join(parent.path, name);
    const known = this.#used(path);
    if (known) return known;
    const fd = openat2(parent.fd, cString(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, INSIDE, ABSENT);
    return fd < 0 ? undefined : this.#adopt(fd, path);
  }

  /** The time that the directory shall have in the end, whatever is still done in it. */
  setTime(path: string, mtime: Timespec): void {
    this.#times.set(path, mtime);
  }

  /** To be called when a directory was made that has no time to keep. */
  dropTime(path: string): void {
    this.#times.delete(path);
  }

  /** To be called when the directory's own attributes have changed. */
  refresh(path: string): void {
    const known = this.#open.get(path);
    if (!known) return;
    this.#open.delete(path);
    close(known.fd);
  }

  /** To be called when the directory at `path` was removed: what was resolved through it is trusted no more. */
  forget(path: string): void {
    this.refresh(path);
    this.forgetBelow(path);
  }

  /** To be called when directories below `path` were removed. */
  forgetBelow(path: string): void {
    const prefix = path === '' ? '' : `${path}/`;
    for (const open of [...this.#open.keys()]) if (open.startsWith(prefix)) this.refresh(open);
  }

  /** To be called between entries, when no directory is in use: bounds what is held in memory. */
  settle(): void {
    if (this.#times.size > TIMES) this.restoreTimes();
  }

  /** Gives all directories touched so far their times; those touched again later keep them too. */
  restoreTimes(): void {
    this.#closeAll();
    const rootTime = this.#times.get('');
    for (const [path, mtime] of this.#times) {
      const fd =
        path === ''
          ? this.root.fd
          : openat2(this.root.fd, cString(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, INSIDE, ABSENT);
      if (fd < 0) continue;
      futimens(fd, mtime, mtime);
      if (path !== '') close(fd);
    }
    this.#times.clear();
    if (rootTime) this.#times.set('', rootTime);
  }

  close(): void {
    this.#closeAll();
    close(this.root.fd);
  }

  #closeAll(): void {
    for (const { fd } of this.#open.values()) close(fd);
    this.#open.clear();
  }

  /** An open directory, which from now on is the last to be closed. */
  #used(path: string): Directory | undefined {
    const known = this.#open.get(path);
    if (!known) return undefined;
    this.#open.delete(path);
    this.#open.set(path, known);
    return known;
  }

  #adopt(fd: number, path: string): Directory {
    const stat = fstat(fd);
    const directory = { fd, path, isPlain: isPlain(fd, stat) };
    if (!this.#times.has(path)) this.#times.set(path, stat.mtime);
    if (this.#open.size >= KEPT) this.#dropOldest();
    this.#open.set(path, directory);
    return directory;
  }

  #dropOldest(): void {
    for (const [path, { fd }] of this.#open) {
      this.#open.delete(path);
      close(fd);
      return;
    }
  }
}

const ACCESS_LISTS = 'system.posix_acl_default';

function isPlain(fd: number, { gid, mode }: Stat): boolean {
  return process.geteuid?.() === 0 && gid === 0 && (mode & S_ISGID) === 0 && fgetxattr(fd, ACCESS_LISTS) === undefined;
}
