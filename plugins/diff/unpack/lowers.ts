/**
 * The layers below an overlay's upper directory, seen merged, as the kernel
 * would show them: a directory merges with those below it until one is opaque
 * or the name is something else. Redirected directories are not followed.
 */
import {
  AT_FDCWD,
  close,
  ELOOP,
  ENOENT,
  ENOTDIR,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../../../lib/linux/file.js';
import { lstatat, readDirectory, S_IFCHR, S_IFDIR, S_IFMT, type Stat } from '../../../lib/linux/stat.js';
import { fgetxattr } from '../../../lib/linux/xattr.js';
import { baseOf, cString, join, parentOf } from './names.js';

const INSIDE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
/** Merged directories whose descriptors are kept. */
const KEPT = 8;

/** True for what marks a name as deleted in an overlay layer. */
export const isWhiteout = ({ mode, deviceMajor, deviceMinor }: Stat): boolean =>
  (mode & S_IFMT) === S_IFCHR && deviceMajor === 0 && deviceMinor === 0;

/** Something in a lower layer; valid until the next call. */
export interface LowerEntry {
  /** Descriptor of the directory it is in, in its layer. */
  readonly parent: number;
  readonly name: string;
  readonly stat: Stat;
}

export class Lowers {
  readonly #roots: number[] = [];
  readonly #opaqueXattr: string;
  /** Descriptors of the directories that merge at a path, topmost first. */
  readonly #merged = new Map<string, readonly number[]>();

  /** `roots`: topmost first. Throws SystemError when one is no directory. */
  constructor(roots: readonly string[], opaqueXattr: string) {
    this.#opaqueXattr = opaqueXattr;
    try {
      for (const root of roots) this.#roots.push(openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** What is at `path`, which goes through no link; undefined when nothing is. */
  find(path: string): LowerEntry | undefined {
    const name = baseOf(path);
    for (const parent of this.#directory(parentOf(path))) {
      const stat = lstatat(parent, cString(name), [ENOENT, ENOTDIR]);
      if (stat) return isWhiteout(stat) ? undefined : { parent, name, stat };
    }
    return undefined;
  }

  findDirectory(path: string): LowerEntry | undefined {
    const found = this.find(path);
    return found && (found.stat.mode & S_IFMT) === S_IFDIR ? found : undefined;
  }

  /** Names in the root directories of all layers, deleted ones included. */
  rootNames(): Set<string> {
    const names = new Set<string>();
    for (const root of this.#roots) {
      const fd = openat(root, '.', O_RDONLY | O_DIRECTORY);
      for (const { name } of readDirectory(fd)) names.add(name);
      close(fd);
    }
    return names;
  }

  close(): void {
    for (const path of [...this.#merged.keys()]) this.#drop(path);
    for (const fd of this.#roots) close(fd);
  }

  #directory(path: string): readonly number[] {
    if (path === '') return this.#roots;
    const known = this.#merged.get(path);
    if (known) return known;
    const above = this.#merged.get(parentOf(path));
    const merged = above ? this.#merge(above, baseOf(path)) : this.#descend(path);
    const [oldest] = this.#merged.keys();
    if (this.#merged.size >= KEPT && oldest !== undefined) this.#drop(oldest);
    this.#merged.set(path, merged);
    return merged;
  }

  #drop(path: string): void {
    for (const fd of this.#merged.get(path) ?? []) close(fd);
    this.#merged.delete(path);
  }

  #descend(path: string): number[] {
    let at = '';
    let level: readonly number[] = this.#roots;
    for (const name of path.split('/')) {
      const next = level.length === 0 ? [] : this.#merge(level, name);
      if (at !== '') for (const fd of level) close(fd);
      at = join(at, name);
      level = next;
    }
    return [...level];
  }

  /** The directories called `name` that merge, out of those of the level above. */
  #merge(level: readonly number[], name: string): number[] {
    const merged: number[] = [];
    for (const parent of level) {
      const absent = [ENOENT, ENOTDIR, ELOOP];
      const fd = openat2(parent, cString(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, INSIDE, absent);
      if (fd === -ENOENT) continue;
      if (fd < 0) break;
      merged.push(fd);
      if (fgetxattr(fd, this.#opaqueXattr)?.toString('latin1') === 'y') break;
    }
    return merged;
  }
}
