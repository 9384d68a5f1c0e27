/**
 * The tree a layer is unpacked into: where names lead, what is in the way of
 * them, and which of what is there belongs to this layer.
 *
 * Names are resolved in the merged tree, so that an entry below a link of a
 * lower layer lands where the link points, on every kind of target.
 */
import { internal, invalidArgument } from '../../../kernel/errors.js';
import {
  AT_REMOVEDIR,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTEMPTY,
  mkdirat,
  readlinkat,
  unlinkat,
} from '../../../lib/linux/file.js';
import { lstatat, readDirectory } from '../../../lib/linux/stat.js';
import { fsetxattr } from '../../../lib/linux/xattr.js';
import { isLinkMode, lowerXattrs, setDirectoryAttributes, setXattrs, type XattrPolicy } from './attributes.js';
import { Directories, type Directory } from './directories.js';
import { ImpliedDirectories } from './implied.js';
import { isWhiteout, type LowerEntry, Lowers } from './lowers.js';
import { ancestorsOf, cString, join, show } from './names.js';
import { clearDirectory } from './removal.js';
import type { Target } from './target.js';

/** Components followed for one name, links included: as many as a hostile archive may cost us. */
const MOST_STEPS = 8192;
const MOST_LINKS = 255;
const IMPLIED_MODE = 0o755;
const OURSELVES = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const OPAQUE = Buffer.from('y');

export const opaqueXattr = (xattrs: Target['xattrs']): string => `${xattrs}.overlay.opaque`;

/** Where a name leads: a path without links, and what the target has there. */
export interface Place {
  readonly path: string;
  /** `absent` from the target, so that lower layers show; `covered`: something that is no directory is in the way. */
  readonly state: 'present' | 'absent' | 'covered';
}

/** The way from the root to where a name leads. */
class Walk {
  readonly #places: Place[] = [{ path: '', state: 'present' }];

  get place(): Place {
    return this.#places.at(-1) ?? { path: '', state: 'present' };
  }

  enter(name: string, state: Place['state']): undefined {
    this.#places.push({ path: join(this.place.path, name), state });
  }

  leave(): void {
    if (this.#places.length > 1) this.#places.pop();
  }

  restart(): void {
    this.#places.length = 1;
  }
}

export class Tree {
  readonly directories: Directories;
  readonly isOverlay: boolean;
  /** The layers below; undefined when there are none, and when they are unknown. */
  readonly lowers: Lowers | undefined;
  readonly #hasUnknownLowers: boolean;
  /** Where lower layers are told in the end. */
  readonly #implied: ImpliedDirectories | undefined;
  readonly #opaqueXattr: string;
  readonly #policy: XattrPolicy;
  /** What this layer wrote; undefined when the target was empty, since then everything is this layer's. */
  readonly #own: Set<string> | undefined;
  /** What is here as a copy of a lower layer's: files to be linked to, directories that hold them. */
  readonly #copied = new Set<string>();
  readonly #opaque = new Set<string>();
  #unresolved = false;

  constructor(target: Target, policy: XattrPolicy) {
    this.isOverlay = target.form === 'overlay';
    this.#opaqueXattr = opaqueXattr(target.xattrs);
    this.#policy = policy;
    this.directories = new Directories(target.root);
    try {
      const { lowers } = target;
      this.#hasUnknownLowers = this.isOverlay && lowers === undefined;
      this.#implied = this.#hasUnknownLowers && target.lowersFollow ? new ImpliedDirectories() : undefined;
      this.lowers = this.isOverlay && lowers?.length ? new Lowers(lowers, this.#opaqueXattr) : undefined;
      this.#own = readDirectory(this.directories.root.fd).length === 0 ? undefined : new Set();
    } catch (error) {
      this.directories.close();
      throw error;
    }
  }

  /** True once the layer needed something of lower layers that are unknown. */
  get unresolved(): boolean {
    return this.#unresolved;
  }

  /** True when the target may hold what is not this layer's. */
  get hasForeign(): boolean {
    return this.#own !== undefined || this.#copied.size > 0;
  }

  get isRootOpaque(): boolean {
    return this.#opaque.has('');
  }

  markUnresolved(): void {
    this.#unresolved = true;
  }

  /** True when the lower layers must be told with {@link settle}. */
  get needsLowers(): boolean {
    return this.#implied?.any === true && !this.#unresolved;
  }

  /** Gives directories that the layer only implies what they have in the lower layers, `roots`, topmost first. */
  settle(roots: readonly string[]): void {
    const lowers = new Lowers(roots, this.#opaqueXattr);
    try {
      if (this.#implied?.settle(this.directories, lowers, this.#policy) === false) this.markUnresolved();
    } finally {
      lowers.close();
    }
  }

  /** Remembers that the layer has an entry for the directory at `path`. */
  describe(path: string): void {
    this.#implied?.describe(path);
  }

  /** Remembers that this layer wrote `path`. */
  claim(path: string): void {
    this.#own?.add(path);
    this.#copied.delete(path);
  }

  /** Remembers that `path` is a copy of what a lower layer has there. */
  disclaim(path: string): void {
    this.#copied.add(path);
  }

  #claimWay(path: string): void {
    if (this.#copied.size === 0 && (this.#own === undefined || this.#own.has(path))) return;
    this.claim(path);
    for (const ancestor of ancestorsOf(path)) this.claim(ancestor);
  }

  /** True when what is at `path` in the target is a lower layer's. */
  isForeign(path: string): boolean {
    return this.#copied.has(path) || (this.#own !== undefined && !this.#own.has(path));
  }

  /**
   * The directory at the cleaned `path`, made if need be, links on the way followed
   * inside the tree. It is this layer's then, and so are those that hold it.
   */
  directory(path: string): Directory {
    const directory = this.directories.at(path) ?? this.ensure(this.resolve(path).path);
    this.#claimWay(directory.path);
    return directory;
  }

  /** The directory at `path`, which goes through no link, made with all that lead to it; not this layer's for that. */
  ensure(path: string): Directory {
    let at = this.directories.root;
    for (const name of path === '' ? [] : path.split('/'))
      at = this.directories.child(at, name) ?? this.#imply(at, name);
    return at;
  }

  /** The directory at `path` without links; undefined when the target has none. */
  existing(path: string): Directory | undefined {
    return this.directories.at(path);
  }

  /** Where `path`, not cleaned, leads to; what does not exist counts as a directory. */
  resolve(path: string): Place {
    const walk = new Walk();
    const steps = path.split('/').reverse();
    let links = 0;
    for (let count = 0; steps.length > 0; count++) {
      const step = steps.pop() ?? '';
      const target = step === '' || step === '.' || step === '..' ? undefined : this.#step(walk, step);
      if (step === '..') walk.leave();
      if (target?.startsWith('/')) walk.restart();
      if (target !== undefined) {
        steps.push(...target.split('/').reverse());
        links++;
      }
      if (count > MOST_STEPS || links > MOST_LINKS) throw invalidArgument(`too many links lead to ${show(path)}`);
    }
    return walk.place;
  }

  /** What the lower layers have at `path`, unless an opaque directory hides it. */
  lower(path: string): LowerEntry | undefined {
    return this.lowers === undefined || this.isHidden(path) ? undefined : this.lowers.find(path);
  }

  /** True when there may be something at `path` in a lower layer. */
  mayHaveLower(path: string): boolean {
    return this.#hasUnknownLowers ? !this.isHidden(path) : this.lower(path) !== undefined;
  }

  /** True when a directory above `path` is opaque: then no lower layer shows there. */
  isHidden(path: string): boolean {
    if (this.#opaque.size === 0) return false;
    for (const ancestor of ancestorsOf(path)) if (this.#opaque.has(ancestor)) return true;
    return false;
  }

  /** Cuts a directory of the target off from those below it. */
  makeOpaque(directory: Directory): void {
    if (!this.isOverlay) return;
    // The kernel merges the root in any case: see Whiteouts.finish.
    if (directory.path !== '' && this.mayHaveLower(directory.path)) this.cutOff(directory);
    this.#opaque.add(directory.path);
  }

  /** Tells the kernel that the directory merges with nothing. */
  cutOff({ fd }: Directory): void {
    fsetxattr(fd, this.#opaqueXattr, OPAQUE);
  }

  /** Removes the directory called `name` unless something is in it. */
  removeIfEmpty(directory: Directory, name: string): void {
    if (unlinkat(directory.fd, cString(name), AT_REMOVEDIR, [ENOTEMPTY]) === 0) {
      this.directories.forget(join(directory.path, name));
    }
  }

  /** Removes what is called `name` in `directory`, a whole tree if need be. */
  remove(directory: Directory, name: string): void {
    if (unlinkat(directory.fd, cString(name), 0, [ENOENT, EISDIR]) !== -EISDIR) return;
    const child = this.directories.child(directory, name);
    if (child) clearDirectory(child.fd, () => true);
    unlinkat(directory.fd, cString(name), AT_REMOVEDIR);
    this.directories.forget(join(directory.path, name));
  }

  close(): void {
    this.directories.close();
    this.lowers?.close();
  }

  /** Enters `name`, or returns the text of the link that it is in the merged tree. */
  #step(walk: Walk, name: string): string | undefined {
    const { path: at, state } = walk.place;
    const path = join(at, name);
    const parent = state === 'present' ? this.directories.at(at) : undefined;
    if (parent && this.directories.child(parent, name)) return walk.enter(name, 'present');
    if (parent) {
      const text = readlinkat(parent.fd, cString(name), [EINVAL, ENOENT]);
      if (text) return text.toString('latin1');
      if (lstatat(parent.fd, cString(name), [ENOENT])) return walk.enter(name, 'covered');
    }
    const found = state === 'covered' ? undefined : this.lower(path);
    if (found && isLinkMode(found.stat.mode)) {
      return readlinkat(found.parent, cString(found.name))?.toString('latin1');
    }
    return walk.enter(name, state === 'covered' ? 'covered' : 'absent');
  }

  /** Makes a directory that the layer mentions only by what is in it, with the attributes it has in a lower layer. */
  #imply(parent: Directory, name: string): Directory {
    const path = join(parent.path, name);
    const isCutOff = this.#makeWay(parent, name, path);
    mkdirat(parent.fd, cString(name), IMPLIED_MODE);
    this.directories.dropTime(path);
    const made = this.directories.child(parent, name);
    if (!made) throw internal(`the directory ${show(path)} vanished`);
    if (!parent.isPlain) setDirectoryAttributes(made.fd, OURSELVES, IMPLIED_MODE);
    this.disclaim(path);
    if (isCutOff) this.makeOpaque(made);
    else if (this.isOverlay) this.#inherit(made, path);
    return this.directories.at(path) ?? made;
  }

  /** Clears away what is not a directory. True when that was a deletion, which the new directory must not undo. */
  #makeWay(parent: Directory, name: string, path: string): boolean {
    const stat = lstatat(parent.fd, cString(name), [ENOENT]);
    if (!stat) return false;
    const isDeletion = this.isOverlay && isWhiteout(stat);
    if (!isDeletion && !this.isForeign(path)) throw invalidArgument(`${show(path)} is not a directory in this layer`);
    unlinkat(parent.fd, cString(name));
    return true;
  }

  #inherit({ fd }: Directory, path: string): void {
    if (this.#hasUnknownLowers && !this.isHidden(path) && !this.#implied?.add(path)) this.markUnresolved();
    const found = this.lowers && !this.isHidden(path) ? this.lowers.findDirectory(path) : undefined;
    if (!found) return;
    const { stat } = found;
    setXattrs(fd, path, lowerXattrs(found.parent, found.name, this.#policy), this.#policy);
    setDirectoryAttributes(fd, stat, stat.mode);
    this.directories.setTime(path, stat.mtime);
    this.directories.refresh(path);
  }
}
