/** Pax extended headers (POSIX.1-2017, pax, "pax Header Block"): `length key=value\n` records of bytes. */
import { malformed } from './entry.js';

/** Byte strings by key, as the archive has them. */
export type PaxRecords = ReadonlyMap<string, string>;

const NAMES = new Set(['path', 'linkpath', 'uname', 'gname']);

function checkRecord(key: string, value: string): void {
  const sound = key !== '' && (NAMES.has(key) ? !value.includes('\0') : !key.includes('\0'));
  if (!sound) throw malformed('a pax record with an empty key or a NUL');
}

/** Sparse format 0.0 repeats two keys in turn; they are gathered into the map that format 0.1 has. */
function gatherSparse(key: string, value: string, map: string[]): boolean {
  if (key !== 'GNU.sparse.offset' && key !== 'GNU.sparse.numbytes') return false;
  const expected = map.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes';
  if (key !== expected || value.includes(',')) throw malformed('a sparse map out of order');
  map.push(value);
  return true;
}

/** The space that ends a record's length, and the offset behind the record. */
function recordBounds(body: Buffer, start: number): { readonly space: number; readonly end: number } {
  const space = body.indexOf(0x20, start);
  const digits = space === -1 || space - start > 8 ? '' : body.toString('latin1', start, space);
  const end = /^\d+$/.test(digits) ? start + Number(digits) : 0;
  const fits = end - start >= 5 && end > space + 1 && end <= body.length && body[end - 1] === 0x0a;
  if (!fits) throw malformed('a pax record whose length is wrong');
  return { space, end };
}

/** Records by key, the last one of a key winning. INVALID_ARGUMENT for a record that is not well formed. */
export function parsePax(body: Buffer): PaxRecords {
  const records = new Map<string, string>();
  const sparse: string[] = [];
  for (let start = 0; start < body.length; ) {
    const { space, end } = recordBounds(body, start);
    const equals = body.indexOf(0x3d, space + 1);
    if (equals === -1 || equals >= end) throw malformed('a pax record without "="');
    const key = body.toString('latin1', space + 1, equals);
    const value = body.toString('latin1', equals + 1, end - 1);
    checkRecord(key, value);
    if (!gatherSparse(key, value, sparse)) records.set(key, value);
    start = end;
  }
  if (sparse.length > 0) records.set('GNU.sparse.map', sparse.join(','));
  return records;
}

const XATTR = 'SCHILY.xattr.';

/** The extended attributes among the records: raw values by attribute name. */
export function paxXattrs(records: PaxRecords): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of records) {
    if (key.startsWith(XATTR)) xattrs.set(key.slice(XATTR.length), Buffer.from(value, 'latin1'));
  }
  return xattrs;
}
