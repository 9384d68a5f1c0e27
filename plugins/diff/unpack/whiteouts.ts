/**
 * Deletions (OCI image-spec, layer.md): `.wh.NAME` deletes what lower layers
 * have of that name, `.wh..wh..opq` all they have in the directory. What this
 * layer holds itself stays, in whatever order the entries come.
 */
import { invalidArgument } from '../../../kernel/errors.js';
import { ENOENT, mknodat, unlinkat } from '../../../lib/linux/file.js';
import { lstatat, S_IFCHR, S_IFDIR, S_IFMT } from '../../../lib/linux/stat.js';
import type { Directory } from './directories.js';
import { isWhiteout } from './lowers.js';
import { baseOf, cString, join, parentOf, show } from './names.js';
import { clearDirectory } from './removal.js';
import type { Tree } from './tree.js';

const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';

export type Whiteout = { readonly kind: 'opaque' } | { readonly kind: 'name'; readonly name: string };

/** What the last component of a name deletes, if it does. INVALID_ARGUMENT for one that names no entry. */
export function whiteoutOf(base: string): Whiteout | undefined {
  if (!base.startsWith(PREFIX)) return undefined;
  if (base === OPAQUE) return { kind: 'opaque' };
  const name = base.slice(PREFIX.length);
  if (name === '' || name === '.' || name === '..')
    throw invalidArgument(`${show(base)} deletes nothing that has a name`);
  return { kind: 'name', name };
}

export class Whiteouts {
  readonly #tree: Tree;
  /** Paths at which this layer put a mark of deletion. */
  readonly #marks: string[] = [];
  /** Directories that hold nothing but this layer's entries any more. */
  readonly #cleared = new Set<string>();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  apply(directory: Directory, whiteout: Whiteout): void {
    if (whiteout.kind === 'opaque') this.#clear(directory);
    else this.#delete(directory, whiteout.name);
  }

  /** An entry that is a mark of deletion itself (character device 0:0), as overlay layers have it. */
  replace(directory: Directory, name: string): void {
    this.#tree.remove(directory, name);
    this.#mark(directory, name);
  }

  /** To be called behind the last entry. */
  finish(): void {
    if (this.#tree.isRootOpaque) this.#clearMergedRoot();
    // In a directory that merges with none, the kernel would list a mark as a broken entry.
    const inside = this.#marks.filter((path) => path.includes('/'));
    for (const path of inside) if (this.#tree.isHidden(path)) this.#unmark(path);
  }

  #delete(directory: Directory, name: string): void {
    const path = join(directory.path, name);
    const stat = lstatat(directory.fd, cString(name), [ENOENT]);
    if (stat && (stat.mode & S_IFMT) === S_IFDIR) this.#deleteDirectory(directory, name, path);
    else if (stat && !isWhiteout(stat) && this.#tree.isForeign(path)) unlinkat(directory.fd, cString(name));
    else if (stat) return;
    if (!lstatat(directory.fd, cString(name), [ENOENT])) this.#mark(directory, name);
  }

  #deleteDirectory(parent: Directory, name: string, path: string): void {
    const directory = this.#tree.directories.child(parent, name);
    if (!directory) return;
    this.#clear(directory);
    if (this.#tree.isForeign(path)) this.#tree.removeIfEmpty(parent, name);
  }

  /** Deletes what is not this layer's in a directory that stays. */
  #clear(directory: Directory): void {
    const { path, fd } = directory;
    if (this.#tree.hasForeign && !this.#cleared.has(path)) {
      clearDirectory(fd, (below) => this.#tree.isForeign(join(path, below)));
      this.#cleared.add(path);
      this.#tree.directories.forgetBelow(path);
    }
    this.#tree.makeOpaque(directory);
  }

  #mark(directory: Directory, name: string): void {
    const path = join(directory.path, name);
    if (!this.#tree.isOverlay || !this.#tree.mayHaveLower(path)) return;
    mknodat(directory.fd, cString(name), S_IFCHR, 0n);
    this.#marks.push(path);
  }

  #unmark(path: string): void {
    const directory = this.#tree.existing(parentOf(path));
    const name = baseOf(path);
    const stat = directory && lstatat(directory.fd, cString(name), [ENOENT]);
    if (stat && isWhiteout(stat)) unlinkat(directory.fd, cString(name));
  }

  /** An overlay's root always merges: what lower layers have there is deleted name by name. */
  #clearMergedRoot(): void {
    const { root } = this.#tree.directories;
    if (!this.#tree.lowers) this.#tree.markUnresolved();
    for (const name of this.#tree.lowers?.rootNames() ?? []) {
      const directory = this.#tree.directories.child(root, name);
      if (directory) this.#tree.cutOff(directory);
      else if (!lstatat(root.fd, cString(name), [ENOENT])) mknodat(root.fd, cString(name), S_IFCHR, 0n);
    }
  }
}
