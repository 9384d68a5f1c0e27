/** What the blocks in front of an entry say about it: pax records, GNU long names. */
import { type EntryType, malformed, type Region, type TarEntry } from './entry.js';
import { byteCount, decimal, later, paxTime } from './fields.js';
import type { Header } from './header.js';
import { type PaxRecords, parsePax, paxXattrs } from './pax.js';
import { paxSparseFormat } from './sparse.js';

const NO_RECORDS: PaxRecords = new Map();
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

const cString = (bytes: Buffer): string => {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
};

/** True for the type flags of blocks that only speak of the entry behind them, or of the archive. */
export const isExtension = (flag: string): boolean => flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K';

export class Extensions {
  #records = NO_RECORDS;
  #longName = '';
  #longLink = '';
  #any = false;

  /** True while something waits for its entry. */
  get any(): boolean {
    return this.#any;
  }

  get sparseFormat(): 'records' | 'data' | undefined {
    return paxSparseFormat(this.#records);
  }

  get records(): PaxRecords {
    return this.#records;
  }

  /** Takes the body of a block with one of the {@link isExtension} flags. */
  add(flag: string, body: Buffer): void {
    this.#any = true;
    switch (flag) {
      case 'x':
        this.#records = parsePax(body);
        break;
      case 'L':
        this.#longName = cString(body);
        break;
      case 'K':
        this.#longLink = cString(body);
        break;
      default:
        // A global header changes nothing, but, as Go does it, it ends what came before.
        parsePax(body);
        this.forget();
    }
  }

  /** To be called after each entry: extensions speak of one entry only. */
  forget(): void {
    if (!this.#any) return;
    this.#records = NO_RECORDS;
    this.#longName = '';
    this.#longLink = '';
    this.#any = false;
  }

  /** Refuses a size record that is no number, also where the size does not matter. */
  checkSize(): void {
    this.#number('size', 0);
  }

  /** Bytes of data in the archive. */
  storedSize(header: Header): number {
    return byteCount(this.#number('size', header.size));
  }

  /** Bytes of a file that is stored sparse. */
  sparseSize(stored: number): number {
    return byteCount(this.#number('GNU.sparse.size', this.#number('GNU.sparse.realsize', stored)));
  }

  name(header: Header): string {
    const isPaxSparse = header.flag !== 'S' && this.sparseFormat !== undefined;
    const sparseName = isPaxSparse ? this.#text('GNU.sparse.name', '') : '';
    if (sparseName !== '') return sparseName;
    return this.#longName === '' ? this.#text('path', header.name) : this.#longName;
  }

  describe(header: Header, type: EntryType, size: number, regions?: readonly Region[]): TarEntry {
    const mtime = this.#text('mtime', '');
    const modified = mtime === '' ? header.mtime : paxTime(mtime);
    const atime = this.#text('atime', '');
    const accessed = atime === '' ? (header.atime ?? modified) : paxTime(atime);
    return {
      type,
      name: this.name(header),
      link: this.#longLink === '' ? this.#text('linkpath', header.link) : this.#longLink,
      mode: header.mode,
      uid: this.#number('uid', header.uid),
      gid: this.#number('gid', header.gid),
      size,
      mtime: modified,
      atime: later(accessed, modified),
      deviceMajor: header.deviceMajor,
      deviceMinor: header.deviceMinor,
      xattrs: this.#records.size === 0 ? NO_XATTRS : paxXattrs(this.#records),
      ...(regions ? { regions } : {}),
    };
  }

  /** A record's value; an empty one means that the header's stands. */
  #text(key: string, other: string): string {
    const value = this.#records.get(key);
    return value === undefined || value === '' ? other : value;
  }

  #number(key: string, other: number): number {
    const value = this.#text(key, '');
    return value === '' ? other : decimal(value);
  }
}

/** Largest body of an extension, in bytes. */
const MAX_BODY = 1 << 20;

/** Gathers the body of one extension. */
export class ExtensionBody {
  readonly flag: string;
  readonly #body: Buffer;
  #filled = 0;

  /** INVALID_ARGUMENT, before anything is allocated, for a body of more than 1 MiB. */
  constructor({ flag, size }: Header) {
    if (byteCount(size) > MAX_BODY) throw malformed(`an extended header of ${size} bytes`);
    this.flag = flag;
    this.#body = Buffer.allocUnsafe(size);
  }

  get size(): number {
    return this.#body.length;
  }

  /** The whole body; meaningful once {@link complete}. */
  get bytes(): Buffer {
    return this.#body;
  }

  get complete(): boolean {
    return this.#filled === this.#body.length;
  }

  /** Takes what it lacks; returns how many bytes that was. */
  push(chunk: Buffer, at: number): number {
    const copied = chunk.copy(this.#body, this.#filled, at);
    this.#filled += copied;
    return copied;
  }
}
