/**
 * Directories that a layer unpacked without its parents mentions only by what
 * is in them. What they are below is learnt in the end: then they get the
 * attributes they have there, as they would have got them at once.
 */
import { futimens } from '../../../lib/linux/file.js';
import { fgetxattr } from '../../../lib/linux/xattr.js';
import { isLinkMode, lowerXattrs, setDirectoryAttributes, setXattrs, type XattrPolicy } from './attributes.js';
import type { Directories } from './directories.js';
import type { LowerEntry, Lowers } from './lowers.js';

/** More than images have by far; beyond it the layer is unpacked on its parents. */
const MOST = 65_536;

const DEFAULT_ACCESS_LIST = 'system.posix_acl_default';

export class ImpliedDirectories {
  /** By path; true while nothing in the layer describes the directory. */
  readonly #inherits = new Map<string, boolean>();

  get any(): boolean {
    return this.#inherits.size > 0;
  }

  /** False when there are too many. */
  add(path: string): boolean {
    this.#inherits.set(path, true);
    return this.#inherits.size <= MOST;
  }

  /** The layer has an entry of its own for the directory. */
  describe(path: string): void {
    if (this.#inherits.has(path)) this.#inherits.set(path, false);
  }

  /**
   * To be called when everything else of the layer is there. False when it is
   * not what it had become on top of its parents: a name led elsewhere, or what
   * was made in a directory had inherited something.
   */
  settle(directories: Directories, lowers: Lowers, policy: XattrPolicy): boolean {
    for (const [path, inherits] of this.#inherits) {
      const found = lowers.find(path);
      if (found && isLinkMode(found.stat.mode)) return false;
      const below = lowers.findDirectory(path);
      if (below && inherits && !inherit(directories, path, below, policy)) return false;
    }
    return true;
  }
}

function inherit(directories: Directories, path: string, below: LowerEntry, policy: XattrPolicy): boolean {
  // Undefined when something else of the layer took its place.
  const directory = directories.at(path);
  if (!directory) return true;
  const { fd } = directory;
  const xattrs = lowerXattrs(below.parent, below.name, policy);
  if (xattrs.has(DEFAULT_ACCESS_LIST) || fgetxattr(fd, DEFAULT_ACCESS_LIST) !== undefined) return false;
  setXattrs(fd, path, xattrs, policy);
  setDirectoryAttributes(fd, below.stat, below.stat.mode);
  futimens(fd, below.stat.mtime, below.stat.mtime, path);
  directories.refresh(path);
  return true;
}
