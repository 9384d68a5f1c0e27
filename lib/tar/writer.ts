/**
 * Writes tar entries: ustar headers, with pax records (POSIX.1-2017) for what
 * does not fit into them. Names are byte strings, which is why this does not
 * go through a library that takes text.
 */
import { BLOCK, type EntryType, type TarTime } from './entry.js';

export interface NewEntry {
  readonly type: EntryType;
  /** A directory's ends in a slash. */
  readonly name: string;
  readonly link?: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of data that will follow. */
  readonly size: number;
  readonly mtime: TarTime;
  readonly deviceMajor?: number;
  readonly deviceMinor?: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}

const FLAGS: Readonly<Record<EntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

const NAME_BYTES = 100;
/** Largest values of the octal fields. */
const LAST_ID = 0o7777777;
const LAST_SIZE = 0o77777777777;

/** Zeros that fill a file's last block. */
export const padding = (size: number): Buffer => Buffer.alloc(-size & (BLOCK - 1));

/** What ends an archive. */
export const END_OF_ARCHIVE = Buffer.alloc(2 * BLOCK);

function putOctal(block: Buffer, at: number, length: number, value: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, length, 'latin1');
}

interface Fields {
  readonly name: string;
  readonly flag: string;
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly seconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

function header(fields: Fields): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(fields.name, 0, NAME_BYTES, 'latin1');
  putOctal(block, 100, 8, fields.mode);
  putOctal(block, 108, 8, fields.uid);
  putOctal(block, 116, 8, fields.gid);
  putOctal(block, 124, 12, fields.size);
  putOctal(block, 136, 12, fields.seconds);
  block.write(fields.flag, 156, 'latin1');
  block.write(fields.link, 157, NAME_BYTES, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  putOctal(block, 329, 8, fields.deviceMajor);
  putOctal(block, 337, 8, fields.deviceMinor);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** `length key=value\n`, the length counting its own digits. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (length !== rest.length + `${length}`.length) length = rest.length + `${length}`.length;
  return `${length}${rest}`;
}

function decimalTime({ seconds, nanos }: TarTime): string {
  if (nanos === 0) return `${seconds}`;
  // A fraction of a negative time counts away from zero.
  const [whole, part] = seconds < 0 ? [seconds + 1, 1_000_000_000 - nanos] : [seconds, nanos];
  const sign = seconds < 0 && whole === 0 ? '-' : '';
  return `${sign}${whole}.${`${part}`.padStart(9, '0').replace(/0+$/, '')}`;
}

function paxRecords({ name, link = '', uid, gid, size, mtime, xattrs }: NewEntry): string {
  const records: string[] = [];
  if (name.length > NAME_BYTES) records.push(record('path', name));
  if (link.length > NAME_BYTES) records.push(record('linkpath', link));
  if (uid > LAST_ID) records.push(record('uid', `${uid}`));
  if (gid > LAST_ID) records.push(record('gid', `${gid}`));
  if (size > LAST_SIZE) records.push(record('size', `${size}`));
  if (mtime.nanos !== 0 || mtime.seconds < 0 || mtime.seconds > LAST_SIZE) {
    records.push(record('mtime', decimalTime(mtime)));
  }
  const sorted = [...(xattrs ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, value] of sorted) {
    records.push(record(`SCHILY.xattr.${key}`, Buffer.from(value).toString('latin1')));
  }
  return records.join('');
}

const within = (value: number, last: number): number => (value >= 0 && value <= last ? value : 0);

function paxHeader(name: string, records: string): Buffer {
  const body = Buffer.from(records, 'latin1');
  const fields = {
    name: `PaxHeaders.0/${name}`.slice(0, NAME_BYTES),
    flag: 'x',
    link: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: body.length,
    seconds: 0,
    deviceMajor: 0,
    deviceMinor: 0,
  };
  return Buffer.concat([header(fields), body, padding(body.length)]);
}

/** The header blocks of an entry; its data and {@link padding} are to follow. */
export function entryHeader(entry: NewEntry): Buffer {
  const records = paxRecords(entry);
  const own = header({
    name: entry.name.slice(0, NAME_BYTES),
    flag: FLAGS[entry.type],
    link: (entry.link ?? '').slice(0, NAME_BYTES),
    mode: entry.mode & 0o7777,
    uid: within(entry.uid, LAST_ID),
    gid: within(entry.gid, LAST_ID),
    size: within(entry.size, LAST_SIZE),
    seconds: within(entry.mtime.seconds, LAST_SIZE),
    deviceMajor: entry.deviceMajor ?? 0,
    deviceMinor: entry.deviceMinor ?? 0,
  });
  return records === '' ? own : Buffer.concat([paxHeader(entry.name, records), own]);
}
