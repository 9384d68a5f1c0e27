/**
 * Maps of sparse files: old GNU (in the header and blocks behind it), and pax
 * 0.0, 0.1 (in records) and 1.0 (in front of the data); see "Storing Sparse
 * Files" in the GNU tar manual.
 */
import { BLOCK, malformed, type Region } from './entry.js';
import { byteCount, decimal, numberField } from './fields.js';
import type { PaxRecords } from './pax.js';

/** Most regions of one file: the map is held in memory. */
export const MAX_REGIONS = 65_536;

/** Refuses a map that is out of order, overlaps or passes the end of the file. */
export function checkRegions(regions: readonly Region[], size: number): void {
  let end = 0;
  for (const { offset, length } of regions) {
    if (offset < end || offset + length > size) throw malformed('a sparse map that overlaps or passes the end');
    end = offset + length;
  }
}

/** Bytes of data that the regions take in the archive. */
export const storedSize = (regions: readonly Region[]): number => regions.reduce((sum, { length }) => sum + length, 0);

function add(regions: Region[], offset: number, length: number): void {
  if (regions.length === MAX_REGIONS) throw malformed(`a sparse map of more than ${MAX_REGIONS} regions`);
  regions.push({ offset: byteCount(offset), length: byteCount(length) });
}

/** Adds up to `count` old GNU entries at `start`; an entry that begins with NUL ends the map. */
function addGnuEntries(block: Buffer, start: number, count: number, regions: Region[]): void {
  for (let at = start; at < start + count * 24 && block[at] !== 0; at += 24) {
    add(regions, numberField(block, at, 12), numberField(block, at + 12, 12));
  }
}

export interface OldGnuMap {
  readonly regions: Region[];
  /** Bytes of the whole file. */
  readonly size: number;
  /** True while another block of the map follows. */
  more: boolean;
}

/** The part of an old GNU map that is in the header itself. */
export function oldGnuMap(header: Buffer, start: number): OldGnuMap {
  const regions: Region[] = [];
  addGnuEntries(header, start + 386, 4, regions);
  const size = byteCount(numberField(header, start + 483, 12));
  return { regions, size, more: header[start + 482] !== 0 };
}

/** Adds a block behind the header to an old GNU map. */
export function extendOldGnuMap(map: OldGnuMap, block: Buffer, start: number): void {
  addGnuEntries(block, start, 21, map.regions);
  map.more = block[start + 504] !== 0;
}

/** Which pax sparse format the records speak of, if any. */
export function paxSparseFormat(records: PaxRecords): 'records' | 'data' | undefined {
  const version = `${records.get('GNU.sparse.major') ?? ''}.${records.get('GNU.sparse.minor') ?? ''}`;
  if (version === '1.0') return 'data';
  if (version === '0.0' || version === '0.1') return 'records';
  return version === '.' && (records.get('GNU.sparse.map') ?? '') !== '' ? 'records' : undefined;
}

/** A pax 0.0 or 0.1 map: `offset,length,offset,length...` with the count of pairs in a record of its own. */
export function paxRecordMap(records: PaxRecords): Region[] {
  const count = decimal(records.get('GNU.sparse.numblocks') ?? '');
  const map = records.get('GNU.sparse.map') ?? '';
  if (count < 0 || count > MAX_REGIONS) throw malformed('a sparse map with a count out of range');
  const numbers = map === '' ? [] : map.split(',', 2 * count + 1);
  if (numbers.length !== 2 * count) throw malformed('a sparse map of another length than announced');
  const regions: Region[] = [];
  for (let at = 0; at < numbers.length; at += 2) {
    add(regions, decimal(numbers[at] ?? ''), decimal(numbers[at + 1] ?? ''));
  }
  return regions;
}

/**
 * A pax 1.0 map while it is read: newline-terminated decimals in front of the
 * data, padded to whole blocks; first the number of regions, then their
 * offsets and lengths.
 */
export class PaxDataMap {
  readonly regions: Region[] = [];
  #count: number | undefined;
  #digits = '';
  #offset: number | undefined;

  /** Takes a block. True when the map is complete; data begins behind this block. */
  push(block: Buffer, start: number): boolean {
    for (let at = start; at < start + BLOCK; at++) {
      const byte = block[at] ?? 0;
      if (byte === 0x0a) this.#number(decimal(this.#digits));
      else this.#digits += String.fromCharCode(byte);
      if (this.#digits.length > 20) throw malformed('a sparse map with a number out of range');
      if (this.#count !== undefined && this.regions.length === this.#count) return true;
    }
    return false;
  }

  #number(value: number): void {
    this.#digits = '';
    if (this.#count === undefined) {
      if (value < 0 || value > MAX_REGIONS) throw malformed('a sparse map with a count out of range');
      this.#count = value;
    } else if (this.#offset === undefined) this.#offset = value;
    else {
      add(this.regions, this.#offset, value);
      this.#offset = undefined;
    }
  }
}
