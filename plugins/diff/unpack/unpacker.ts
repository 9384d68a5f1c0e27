/** Writes the entries of one layer into a tree, as they come out of the archive. */
import { codeOf, type ErrorCode, invalidArgument, KeelsonError, resourceExhausted } from '../../../kernel/errors.js';
import {
  addressOf,
  close,
  EEXIST,
  ENOENT,
  fchmod,
  fchown,
  ftruncate,
  futimens,
  linkat,
  makedev,
  mkdirat,
  mknodat,
  O_CREAT,
  O_EXCL,
  O_NOFOLLOW,
  O_WRONLY,
  openat,
  pwriteAll,
  startWriteback,
  symlinkat,
  writeAll,
} from '../../../lib/linux/file.js';
import { SystemError } from '../../../lib/linux/libc.js';
import { lstatat, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT } from '../../../lib/linux/stat.js';
import type { TarEntry } from '../../../lib/tar/entry.js';
import type { TarVisitor } from '../../../lib/tar/walker.js';
import {
  checkOwner,
  dropOtherXattrs,
  SPECIAL_BITS,
  setDirectoryAttributes,
  setNodeAttributes,
  setXattrs,
  setXattrsAt,
  type Warn,
  XattrPolicy,
} from './attributes.js';
import { copyUp } from './copy-up.js';
import type { Directory } from './directories.js';
import { isWhiteout } from './lowers.js';
import { baseOf, cleanPath, cString, join, parentOf, secondCString, show } from './names.js';
import type { Target } from './target.js';
import { Tree } from './tree.js';
import { Whiteouts, whiteoutOf } from './whiteouts.js';

export interface UnpackLimits {
  /** Entries of one layer. */
  readonly inodes: number;
  /** Bytes of one layer, the holes of sparse files included. */
  readonly bytes: number;
}

export interface UnpackOptions {
  readonly target: Target;
  readonly limits: UnpackLimits;
  /** False in a user namespace, where device nodes cannot be made: they are left out. */
  readonly makesDevices: boolean;
  /** The tree will be flushed to disk in the end: large files are begun with at once. */
  readonly sync: boolean;
  readonly warn: Warn;
}

/** Errors that say something about the archive, not about this host. */
const FAULTS_OF_LAYERS = new Set([
  ...['ENAMETOOLONG', 'ELOOP', 'ENOTDIR', 'EISDIR', 'EINVAL', 'EMLINK', 'E2BIG', 'ERANGE', 'ENOENT', 'EEXIST'],
  ...['EOVERFLOW', 'EILSEQ', 'EFBIG', 'ENOTEMPTY'],
]);

function codeFor(error: unknown): ErrorCode {
  if (!(error instanceof SystemError)) return codeOf(error);
  if (error.errno === 'EXDEV') return 'FAILED_PRECONDITION';
  return FAULTS_OF_LAYERS.has(error.errno) ? 'INVALID_ARGUMENT' : error.code;
}

/** A file whose data is being written. */
interface OpenFile {
  readonly fd: number;
  readonly entry: TarEntry;
  /** True when the file may have got another owner or mode than it shall have. */
  readonly isAmiss: boolean;
  /** Bytes whose way to the disk has begun. */
  begun: number;
}

/** Bytes of a file that are sent to the disk at a time. */
const WRITEBACK = 8 * 2 ** 20;

const DEVICE_TYPES = { character: S_IFCHR, block: S_IFBLK } as const;
const LAST_DEVICE_NUMBER = 2 ** 32 - 1;

export class Unpacker implements TarVisitor {
  readonly #tree: Tree;
  readonly #whiteouts: Whiteouts;
  readonly #policy: XattrPolicy;
  readonly #options: UnpackOptions;
  #file: OpenFile | undefined;
  #name = '';
  #inodes = 0;
  #holes = 0;

  /** Throws SystemError when the target or a lower layer cannot be opened. */
  constructor(options: UnpackOptions) {
    const { target, warn } = options;
    this.#options = options;
    this.#policy = new XattrPolicy(target.xattrs === 'user' ? 'user.overlay.' : 'trusted.overlay.', warn);
    this.#tree = new Tree(target, this.#policy);
    this.#whiteouts = new Whiteouts(this.#tree);
  }

  get unresolved(): boolean {
    return this.#tree.unresolved;
  }

  /** True when, behind `finish`, the lower layers must be told with `settle`. */
  get needsLowers(): boolean {
    return this.#tree.needsLowers;
  }

  /** Descriptor of the tree's root. */
  get root(): number {
    return this.#tree.directories.root.fd;
  }

  entry(entry: TarEntry): void {
    this.#name = entry.name;
    this.#guard(() => {
      this.#count(entry);
      if (this.unresolved) return;
      this.#tree.directories.settle();
      const path = cleanPath(entry.name);
      // The root is whoever made it to describe; containerd leaves it alone too.
      if (path !== '') this.#place(entry, path);
    });
  }

  data(chunk: Buffer, start: number, end: number, position: number): void {
    const file = this.#file;
    if (!file) return;
    this.#guard(() => {
      const address = addressOf(chunk) + start;
      if (file.entry.regions) pwriteAll(file.fd, address, end - start, position, file.entry.name);
      else writeAll(file.fd, address, end - start, file.entry.name);
      if (this.#options.sync) this.#beginWriteback(file, position + end - start);
    });
  }

  end(): void {
    const file = this.#file;
    if (!file) return;
    this.#file = undefined;
    this.#guard(() => {
      try {
        this.#finishFile(file);
      } finally {
        close(file.fd);
      }
    });
  }

  /** To be called behind the last entry: what could not be done before all entries were there. */
  finish(): void {
    this.#guard(() => {
      if (this.unresolved) return;
      this.#whiteouts.finish();
      this.#tree.directories.restoreTimes();
    });
  }

  /** `lowers`: directories of the layers below, topmost first; undefined when they are not to be had. */
  settle(lowers: readonly string[] | undefined): void {
    if (lowers) this.#tree.settle(lowers);
    else this.#tree.markUnresolved();
  }

  close(): void {
    if (this.#file) close(this.#file.fd);
    this.#file = undefined;
    this.#tree.close();
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof KeelsonError)) throw error;
      throw new KeelsonError(codeFor(error), `layer entry ${show(this.#name)}: ${error.message}`, { cause: error });
    }
  }

  #beginWriteback(file: OpenFile, written: number): void {
    if (written - file.begun < WRITEBACK) return;
    startWriteback(file.fd, file.begun, written - file.begun, file.entry.name);
    file.begun = written;
  }

  #count({ regions, size }: TarEntry): void {
    const { inodes, bytes } = this.#options.limits;
    if (++this.#inodes > inodes) throw resourceExhausted(`the layer has more than ${inodes} entries`);
    if (regions) this.#holes += size;
    if (this.#holes > bytes) throw resourceExhausted(`the layer's sparse files take more than ${bytes} bytes`);
  }

  #place(entry: TarEntry, path: string): void {
    const name = baseOf(path);
    const whiteout = whiteoutOf(name);
    if (whiteout) {
      this.#whiteouts.apply(this.#tree.directory(parentOf(path)), whiteout);
      return;
    }
    checkOwner(entry);
    // Its target first: finding it may open many directories.
    const source = entry.type === 'hardlink' ? this.#linkSource(entry.link) : undefined;
    const directory = this.#tree.directory(parentOf(path));
    if (source) this.#link(source, directory, name);
    else this.#make(entry, directory, name);
    this.#tree.claim(join(directory.path, name));
  }

  #make(entry: TarEntry, directory: Directory, name: string): void {
    switch (entry.type) {
      case 'directory':
        this.#makeDirectory(entry, directory, name);
        break;
      case 'file':
        this.#openFile(entry, directory, name);
        break;
      case 'symlink':
        this.#replacing(directory, name, () =>
          symlinkat(secondCString(entry.link), directory.fd, cString(name), [EEXIST]),
        );
        this.#describe(entry, directory, name, true);
        break;
      case 'fifo':
        this.#makeNode(entry, directory, name, S_IFIFO, 0n);
        break;
      case 'character':
      case 'block':
        this.#makeDevice(entry, directory, name, DEVICE_TYPES[entry.type]);
        break;
      case 'hardlink':
        // Without a source: the layer is unresolved, and this tree will be thrown away.
        break;
    }
  }

  /** Runs `make`, which returns a negated EEXIST when something is in the way; then that is removed. True when so. */
  #replacing(directory: Directory, name: string, make: () => number): boolean {
    if (make() >= 0) return false;
    this.#tree.remove(directory, name);
    if (make() >= 0) return true;
    throw invalidArgument(`something at ${show(join(directory.path, name))} cannot be replaced`);
  }

  #makeDirectory(entry: TarEntry, parent: Directory, name: string): void {
    const { directories } = this.#tree;
    const path = join(parent.path, name);
    const make = (): number => mkdirat(parent.fd, cString(name), entry.mode, [EEXIST]);
    const isNew = make() >= 0;
    const isMerged = !isNew && directories.child(parent, name) !== undefined;
    if (!isNew && !isMerged) this.#replacing(parent, name, make);
    const made = directories.child(parent, name);
    if (!made) throw invalidArgument(`${show(path)} is not a directory`);
    const xattrs = this.#policy.admit(entry);
    if (isMerged) dropOtherXattrs(made.fd, xattrs);
    // What it replaces hid the lower layers, and they stay hidden.
    if (!isNew && !isMerged) this.#tree.makeOpaque(made);
    if (!parent.isPlain || isMerged || entry.uid !== 0 || entry.gid !== 0 || entry.mode & SPECIAL_BITS) {
      setDirectoryAttributes(made.fd, entry, entry.mode);
    }
    setXattrs(made.fd, name, xattrs, this.#policy);
    if (isMerged || entry.gid !== 0 || entry.mode & SPECIAL_BITS || xattrs.size > 0) directories.refresh(path);
    directories.setTime(path, entry.mtime);
    this.#tree.describe(path);
  }

  #openFile(entry: TarEntry, directory: Directory, name: string): void {
    const isAmiss = !directory.isPlain || entry.uid !== 0 || entry.gid !== 0 || (entry.mode & SPECIAL_BITS) !== 0;
    const mode = isAmiss ? 0o600 : entry.mode;
    let fd = -1;
    this.#replacing(directory, name, () => {
      fd = openat(directory.fd, cString(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode, [EEXIST]);
      return fd;
    });
    this.#file = { fd, entry, isAmiss, begun: 0 };
  }

  #finishFile({ fd, entry, isAmiss }: OpenFile): void {
    if (entry.regions) ftruncate(fd, entry.size, entry.name);
    if (isAmiss) fchown(fd, entry.uid, entry.gid, entry.name);
    setXattrs(fd, entry.name, this.#policy.admit(entry), this.#policy);
    if (isAmiss || entry.xattrs.size > 0) fchmod(fd, entry.mode, entry.name);
    futimens(fd, entry.atime, entry.mtime, entry.name);
  }

  #makeDevice(entry: TarEntry, directory: Directory, name: string, type: number): void {
    const { deviceMajor: major, deviceMinor: minor } = entry;
    for (const number of [major, minor]) {
      if (number < 0 || number > LAST_DEVICE_NUMBER) throw invalidArgument(`device ${major}:${minor} is out of range`);
    }
    if (type === S_IFCHR && major === 0 && minor === 0) this.#whiteouts.replace(directory, name);
    else if (this.#options.makesDevices) this.#makeNode(entry, directory, name, type, makedev(major, minor));
    else this.#options.warn(`layer entry ${show(entry.name)}: left out, devices cannot be made in a user namespace`);
  }

  #makeNode(entry: TarEntry, directory: Directory, name: string, type: number, device: bigint): void {
    this.#replacing(directory, name, () => mknodat(directory.fd, cString(name), type | entry.mode, device, [EEXIST]));
    this.#describe(entry, directory, name, false);
  }

  #describe(entry: TarEntry, directory: Directory, name: string, isLink: boolean): void {
    setNodeAttributes(directory.fd, name, entry, isLink);
    if (entry.xattrs.size > 0) setXattrsAt(directory.fd, name, this.#policy.admit(entry), this.#policy);
  }

  /**
   * The path without links of what a hardlink is to; copied into the tree when
   * it is in a lower layer. Undefined when only unknown layers can have it.
   */
  #linkSource(link: string): string | undefined {
    const cut = link.lastIndexOf('/');
    const name = link.slice(cut + 1);
    if (name === '' || name === '.' || name === '..') throw invalidArgument(`it links to ${show(link)}, a directory`);
    const parent = this.#tree.resolve(link.slice(0, Math.max(cut, 0)));
    const path = join(parent.path, name);
    const directory = parent.state === 'present' ? this.#tree.existing(parent.path) : undefined;
    const stat = directory && lstatat(directory.fd, cString(name), [ENOENT]);
    if (stat && (stat.mode & S_IFMT) === S_IFDIR) throw invalidArgument(`it links to ${show(link)}, a directory`);
    if (stat && !(this.#tree.isOverlay && isWhiteout(stat))) return path;
    const lower = stat || parent.state === 'covered' ? undefined : this.#tree.lower(path);
    if (lower) {
      copyUp(lower, this.#tree.ensure(parent.path), this.#policy);
      this.#tree.disclaim(path);
      return path;
    }
    if (stat || parent.state === 'covered' || !this.#tree.mayHaveLower(path)) {
      throw invalidArgument(`it links to ${show(link)}, which does not exist`);
    }
    this.#tree.markUnresolved();
    return undefined;
  }

  #link(source: string, directory: Directory, name: string): void {
    this.#replacing(directory, name, () => {
      // Looked up each time: what is in the way may hold the source.
      const from = this.#tree.existing(parentOf(source));
      if (!from) throw invalidArgument(`it links to ${show(source)}, which does not exist`);
      return linkat(from.fd, secondCString(baseOf(source)), directory.fd, cString(name), 0, [EEXIST]);
    });
  }
}
