/**
 * Walks a tar stream that arrives in pieces, without copying file data: what
 * Go's archive/tar and GNU tar read, read the same way. Where those two differ
 * this follows Go, which is what containerd unpacks layers with.
 */
import { codeOf, invalidArgument } from '../../kernel/errors.js';
import { BLOCK, type EntryType, malformed, type Region, type TarEntry } from './entry.js';
import { ExtensionBody, Extensions, isExtension } from './extensions.js';
import { type Header, isZeroBlock, parseHeader } from './header.js';
import {
  checkRegions,
  extendOldGnuMap,
  type OldGnuMap,
  oldGnuMap,
  PaxDataMap,
  paxRecordMap,
  storedSize,
} from './sparse.js';

/** Receives an archive's entries in order: `entry`, then `data` any number of times, then `end`. */
export interface TarVisitor {
  entry(entry: TarEntry): void;
  /** Bytes `start` to `end` of `chunk` belong at `position` of the file; valid only during the call. */
  data(chunk: Buffer, start: number, end: number, position: number): void;
  end(): void;
}

const TYPES: ReadonlyMap<string, EntryType> = new Map([
  ['\0', 'file'],
  ['0', 'file'],
  ['1', 'hardlink'],
  ['2', 'symlink'],
  ['3', 'character'],
  ['4', 'block'],
  ['5', 'directory'],
  ['6', 'fifo'],
  ['7', 'file'],
]);

/** A sparse file whose map is still being read. */
interface PendingFile {
  readonly header: Header;
  readonly size: number;
  readonly map: OldGnuMap | PaxDataMap;
}

const paddingOf = (size: number): number => -size & (BLOCK - 1);

type State = 'header' | 'extension' | 'map' | 'data' | 'padding' | 'zero' | 'done';

export class TarWalker {
  readonly #visitor: TarVisitor;
  readonly #extensions = new Extensions();
  readonly #block = Buffer.alloc(BLOCK);
  #filled = 0;
  #state: State = 'header';
  /** Bytes still to come of a file's data, or of padding. */
  #left = 0;
  #padding = 0;
  #body: ExtensionBody | undefined;
  #pending: PendingFile | undefined;
  #regions: readonly Region[] | undefined;
  #region = 0;
  /** Within the file, or within the region of a sparse one. */
  #position = 0;
  #last = '';

  constructor(visitor: TarVisitor) {
    this.#visitor = visitor;
  }

  /** Takes the next bytes. INVALID_ARGUMENT for a broken archive, and whatever the visitor throws. */
  push(chunk: Buffer): void {
    try {
      for (let at = 0; at < chunk.length && this.#state !== 'done'; ) at = this.#step(chunk, at);
    } catch (error) {
      throw this.#located(error);
    }
  }

  /** The stream has ended. INVALID_ARGUMENT when that is in the middle of something; the end marker may be missing. */
  finish(): void {
    const between = this.#state === 'header' || this.#state === 'zero' || this.#state === 'done';
    if (!between || this.#filled > 0 || this.#extensions.any) throw this.#located(malformed('it ends too early'));
  }

  #located(error: unknown): unknown {
    const isOurs = error instanceof Error && codeOf(error) === 'INVALID_ARGUMENT' && /^malformed/.test(error.message);
    if (!isOurs) return error;
    const name = JSON.stringify(Buffer.from(this.#last, 'latin1').toString('utf8'));
    const where = this.#last === '' ? 'at its first entry' : `at or after entry ${name}`;
    return invalidArgument(`${error.message} (${where})`, { cause: error });
  }

  #step(chunk: Buffer, at: number): number {
    switch (this.#state) {
      case 'data':
        return this.#data(chunk, at);
      case 'padding':
        return this.#skip(chunk, at);
      case 'extension':
        return this.#extension(chunk, at);
      default:
        return this.#wholeBlock(chunk, at);
    }
  }

  /** Gathers 512 bytes, in place when the chunk holds them all. */
  #wholeBlock(chunk: Buffer, at: number): number {
    if (this.#filled === 0 && chunk.length - at >= BLOCK) {
      this.#takeBlock(chunk, at);
      return at + BLOCK;
    }
    const copied = chunk.copy(this.#block, this.#filled, at, at + BLOCK - this.#filled);
    this.#filled += copied;
    if (this.#filled === BLOCK) {
      this.#filled = 0;
      this.#takeBlock(this.#block, 0);
    }
    return at + copied;
  }

  #takeBlock(block: Buffer, start: number): void {
    if (this.#state === 'map') this.#mapBlock(block, start);
    else if (isZeroBlock(block, start)) this.#state = this.#state === 'zero' ? 'done' : 'zero';
    else if (this.#state === 'zero') throw malformed('a zero block is followed by something else');
    else this.#header(parseHeader(block, start), block, start);
  }

  #header(header: Header, block: Buffer, start: number): void {
    if (isExtension(header.flag)) this.#startExtension(header);
    else if (header.flag === 'S') this.#startOldGnuSparse(header, block, start);
    else this.#startEntry(header);
  }

  #startExtension(header: Header): void {
    this.#body = new ExtensionBody(header);
    this.#padding = paddingOf(header.size);
    this.#state = 'extension';
    if (this.#body.complete) this.#endExtension(this.#body);
  }

  #extension(chunk: Buffer, at: number): number {
    const body = this.#body;
    if (!body) return at;
    const taken = body.push(chunk, at);
    if (body.complete) this.#endExtension(body);
    return at + taken;
  }

  #endExtension(body: ExtensionBody): void {
    this.#body = undefined;
    this.#extensions.add(body.flag, body.bytes);
    this.#startPadding();
  }

  #startEntry(header: Header): void {
    const type = TYPES.get(header.flag);
    if (type === undefined) throw malformed(`type flag ${JSON.stringify(header.flag)}, which is unknown`);
    const isOldDirectory = header.flag === '\0' && this.#extensions.name(header).endsWith('/');
    if (isOldDirectory) this.#visitWhole(header, 'directory');
    else if (type !== 'file') this.#visitWhole(header, type);
    else this.#startRegular(header);
  }

  /** An entry without data, whatever size its header claims. */
  #visitWhole(header: Header, type: EntryType): void {
    if (this.#extensions.sparseFormat !== undefined) throw malformed('a sparse map on what is not a file');
    this.#extensions.checkSize();
    this.#visit(header, type, 0);
    this.#visitor.end();
    this.#state = 'header';
  }

  #visit(header: Header, type: EntryType, size: number, regions?: readonly Region[]): void {
    const entry = this.#extensions.describe(header, type, size, regions);
    this.#last = entry.name;
    this.#extensions.forget();
    this.#visitor.entry(entry);
  }

  #startRegular(header: Header): void {
    const stored = this.#extensions.storedSize(header);
    this.#left = stored;
    this.#padding = paddingOf(stored);
    const format = this.#extensions.sparseFormat;
    if (format === undefined) this.#startData(header, stored);
    else if (format === 'records')
      this.#startSparse(header, this.#extensions.sparseSize(stored), paxRecordMap(this.#extensions.records));
    else {
      this.#pending = { header, size: this.#extensions.sparseSize(stored), map: new PaxDataMap() };
      this.#state = 'map';
    }
  }

  #startOldGnuSparse(header: Header, block: Buffer, start: number): void {
    if (!header.isGnu) throw malformed('a GNU sparse file in another format');
    const stored = this.#extensions.storedSize(header);
    this.#left = stored;
    this.#padding = paddingOf(stored);
    const map = oldGnuMap(block, start);
    this.#pending = { header, size: map.size, map };
    this.#state = 'map';
    if (!map.more) this.#endMap(this.#pending);
  }

  #mapBlock(block: Buffer, start: number): void {
    const pending = this.#pending;
    if (!pending) return;
    if (pending.map instanceof PaxDataMap) {
      // This map is part of the file's stored bytes; the old GNU one stands in front of them.
      this.#left -= BLOCK;
      if (this.#left < 0) throw malformed('a sparse map that is longer than its file');
      if (pending.map.push(block, start)) this.#endMap(pending);
    } else {
      extendOldGnuMap(pending.map, block, start);
      if (!pending.map.more) this.#endMap(pending);
    }
  }

  #endMap({ header, size, map }: PendingFile): void {
    this.#pending = undefined;
    this.#startSparse(header, size, map.regions);
  }

  #startSparse(header: Header, size: number, regions: readonly Region[]): void {
    checkRegions(regions, size);
    if (storedSize(regions) !== this.#left) throw malformed('a sparse map that does not match its data');
    this.#startData(header, size, regions);
  }

  #startData(header: Header, size: number, regions?: readonly Region[]): void {
    this.#visit(header, 'file', size, regions);
    this.#regions = regions;
    this.#region = 0;
    this.#position = 0;
    this.#state = 'data';
    if (this.#left === 0) this.#endData();
  }

  #data(chunk: Buffer, at: number): number {
    const available = Math.min(this.#left, chunk.length - at);
    const taken = this.#regions ? this.#sparseData(this.#regions, chunk, at, available) : available;
    if (!this.#regions) {
      this.#visitor.data(chunk, at, at + taken, this.#position);
      this.#position += taken;
    }
    this.#left -= taken;
    if (this.#left === 0) this.#endData();
    return at + taken;
  }

  #sparseData(regions: readonly Region[], chunk: Buffer, at: number, available: number): number {
    const { offset, length } = regions[this.#region] ?? { offset: 0, length: 0 };
    const taken = Math.min(available, length - this.#position);
    if (taken > 0) this.#visitor.data(chunk, at, at + taken, offset + this.#position);
    this.#position += taken;
    if (this.#position === length) {
      this.#region++;
      this.#position = 0;
    }
    return taken;
  }

  #endData(): void {
    this.#regions = undefined;
    this.#visitor.end();
    this.#startPadding();
  }

  #startPadding(): void {
    this.#left = this.#padding;
    this.#state = this.#padding === 0 ? 'header' : 'padding';
  }

  #skip(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at);
    this.#left -= taken;
    if (this.#left === 0) this.#state = 'header';
    return at + taken;
  }
}
