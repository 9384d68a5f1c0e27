/** Writes changes as the tar archive of a layer (OCI image-spec, layer.md). */
import { read } from 'node:fs';
import { promisify } from 'node:util';
import type { Nanos } from '../../../kernel/contracts/scope.js';
import { aborted } from '../../../kernel/errors.js';
import { close, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, openat, readlinkat } from '../../../lib/linux/file.js';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, type Stat } from '../../../lib/linux/stat.js';
import type { EntryType, TarTime } from '../../../lib/tar/entry.js';
import { END_OF_ARCHIVE, entryHeader, type NewEntry, padding } from '../../../lib/tar/writer.js';
import { baseOf, cString, join, parentOf, show } from '../unpack/names.js';
import type { Changes, Visit } from './changes.js';
import { layerXattrs } from './same.js';

const readAsync = promisify(read);

const PIECE = 256 * 1024;
/** Milliseconds of the event loop that a walk may take at a time. */
const SLICE = 4;

const TYPES: ReadonlyMap<number, EntryType> = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'character'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
]);

const EPOCH: TarTime = { seconds: 0, nanos: 0 };
const BILLION = 1_000_000_000n;

const isDirectory = ({ stat }: Visit): boolean => (stat.mode & S_IFMT) === S_IFDIR;
const inodeOf = ({ filesystem, inode }: Stat): string => `${filesystem} ${inode}`;

class LayerArchive {
  readonly #latest: Nanos | undefined;
  /** Directories on the way to the entry at hand, not yet written unless marked. */
  #above: { readonly visit: Visit; isWritten: boolean }[] = [];
  /** First written name of a file that has several. */
  readonly #written = new Map<string, string>();
  /** Names of such files that did not change by themselves and came before any that did. */
  readonly #unchanged = new Map<string, string[]>();

  constructor(latest: Nanos | undefined) {
    this.#latest = latest;
  }

  async *bytes(changes: Changes): AsyncGenerator<Buffer, void, void> {
    let sliceEnd = performance.now() + SLICE;
    for (const change of changes) {
      if (change?.kind === 'visit') yield* this.#visit(change);
      else if (change?.kind === 'opaque') yield* this.#mark(join(change.path, '.wh..wh..opq'));
      else if (change) yield* this.#mark(join(parentOf(change.path), `.wh.${baseOf(change.path)}`));
      if (performance.now() < sliceEnd) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sliceEnd = performance.now() + SLICE;
    }
    yield END_OF_ARCHIVE;
  }

  *#mark(name: string): Generator<Buffer, void, void> {
    yield* this.#parents(name);
    yield entryHeader({ type: 'file', name, mode: 0, uid: 0, gid: 0, size: 0, mtime: EPOCH });
  }

  async *#visit(visit: Visit): AsyncGenerator<Buffer, void, void> {
    const type = TYPES.get(visit.stat.mode & S_IFMT);
    // A socket means nothing without the process behind it.
    if (type === undefined) return;
    if (type === 'directory') yield* this.#directory(visit);
    else yield* this.#entry(visit, type);
  }

  *#directory(visit: Visit): Generator<Buffer, void, void> {
    this.#leaveAllBut(visit.path);
    this.#above.push({ visit, isWritten: false });
    if (visit.isChanged) yield* this.#parents(join(visit.path, '.'));
  }

  async *#entry(visit: Visit, type: EntryType): AsyncGenerator<Buffer, void, void> {
    const { stat, path, isChanged } = visit;
    const inode = stat.nlink > 1 ? inodeOf(stat) : undefined;
    const first = inode === undefined ? undefined : this.#written.get(inode);
    if (first !== undefined) yield* this.#write(visit, { type: 'hardlink', link: first });
    else if (!isChanged) this.#remember(inode, path);
    else {
      if (inode !== undefined) this.#written.set(inode, path);
      yield* type === 'file' ? this.#file(visit) : this.#write(visit, { type });
      // Their directories exist below and did not change, else they would have been written.
      for (const other of this.#unchanged.get(inode ?? '') ?? []) {
        yield this.#header(visit, { type: 'hardlink', link: path, name: other });
      }
    }
  }

  #remember(inode: string | undefined, path: string): void {
    if (inode === undefined) return;
    const names = this.#unchanged.get(inode);
    if (names) names.push(path);
    else this.#unchanged.set(inode, [path]);
  }

  *#write(visit: Visit, entry: Partial<NewEntry> & Pick<NewEntry, 'type'>): Generator<Buffer, void, void> {
    yield* this.#parents(visit.path);
    yield this.#header(visit, entry);
  }

  async *#file(visit: Visit): AsyncGenerator<Buffer, void, void> {
    const { size } = visit.stat;
    yield* this.#write(visit, { type: 'file', size });
    if (size === 0) return;
    const fd = openat(visit.parent, cString(visit.name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      for (let at = 0; at < size; ) {
        const buffer = Buffer.allocUnsafe(Math.min(PIECE, size - at));
        const { bytesRead } = await readAsync(fd, buffer, 0, buffer.length, at);
        if (bytesRead === 0) throw aborted(`file ${show(visit.path)} was cut while it was read`);
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      close(fd);
    }
    yield padding(size);
  }

  /** The directories that hold `path`, as far as they are not written yet. */
  *#parents(path: string): Generator<Buffer, void, void> {
    this.#leaveAllBut(path);
    for (const directory of this.#above) {
      if (directory.isWritten) continue;
      directory.isWritten = true;
      yield this.#header(directory.visit, { type: 'directory' });
    }
  }

  #leaveAllBut(path: string): void {
    this.#above = this.#above.filter(({ visit }) => path.startsWith(`${visit.path}/`));
  }

  #header(visit: Visit, entry: Partial<NewEntry> & Pick<NewEntry, 'type'>): Buffer {
    const { stat, path, parent, name } = visit;
    const text = entry.type === 'symlink' ? readlinkat(parent, cString(name)) : undefined;
    const isDevice = entry.type === 'character' || entry.type === 'block';
    return entryHeader({
      name: isDirectory(visit) ? `${path}/` : path,
      mode: stat.mode,
      uid: stat.uid,
      gid: stat.gid,
      size: 0,
      mtime: this.#clamp(stat.mtime),
      xattrs: entry.type === 'hardlink' ? new Map() : layerXattrs(visit),
      ...(text === undefined ? {} : { link: text.toString('latin1') }),
      ...(isDevice ? { deviceMajor: stat.deviceMajor, deviceMinor: stat.deviceMinor } : {}),
      ...entry,
    });
  }

  #clamp(time: TarTime): TarTime {
    const latest = this.#latest;
    if (latest === undefined || BigInt(time.seconds) * BILLION + BigInt(time.nanos) <= latest) return time;
    return { seconds: Number(latest / BILLION), nanos: Number(latest % BILLION) };
  }
}

/** The archive's bytes, in pieces. ABORTED when a file is cut while it is read. `latest` clamps every time. */
export const archiveOf = (changes: Changes, latest: Nanos | undefined): AsyncGenerator<Buffer, void, void> =>
  new LayerArchive(latest).bytes(changes);
