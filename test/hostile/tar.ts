/**
 * Writes tar archives byte by byte, broken and hostile ones too: every field
 * can be set to anything. Names are byte strings (latin1).
 */
const BLOCK = 512;

export interface RawEntry {
  readonly name: string;
  /** The type flag; `0`, a file, by default. */
  readonly flag?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly link?: string;
  readonly data?: Buffer | string;
  /** The size the header claims, when it is to differ from the data's; text goes into the field as it is. */
  readonly size?: number | bigint | string;
  readonly major?: number | bigint;
  readonly minor?: number | bigint;
  readonly magic?: 'ustar' | 'gnu' | 'v7';
  readonly prefix?: string;
  /** Last change to the header block before its checksum is made. */
  readonly patch?: (block: Buffer) => void;
  /** Replaces the right checksum. */
  readonly checksum?: number;
}

/** A number field: octal where it fits, base 256 where it does not. */
function putNumber(block: Buffer, at: number, length: number, value: number | bigint | string): void {
  if (typeof value === 'string') {
    block.write(value, at, length, 'latin1');
    return;
  }
  const digits = BigInt(value) < 0n ? '' : value.toString(8);
  if (digits !== '' && digits.length < length) {
    block.write(`${digits.padStart(length - 1, '0')}\0`, at, length, 'latin1');
    return;
  }
  for (let byte = 0; byte < length; byte++) {
    block[at + length - 1 - byte] = Number(BigInt.asUintN(8, BigInt(value) >> BigInt(8 * byte)));
  }
  block[at] = (block[at] ?? 0) | 0x80;
}

const MAGIC = { ustar: 'ustar\x0000', gnu: 'ustar  \0', v7: '' };

function header(entry: RawEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(entry.name, 0, 100, 'latin1');
  putNumber(block, 100, 8, entry.mode ?? 0o644);
  putNumber(block, 108, 8, entry.uid ?? 0);
  putNumber(block, 116, 8, entry.gid ?? 0);
  putNumber(block, 124, 12, entry.size ?? size);
  putNumber(block, 136, 12, entry.mtime ?? 1_600_000_000);
  block.write(entry.flag ?? '0', 156, 1, 'latin1');
  block.write(entry.link ?? '', 157, 100, 'latin1');
  block.write(MAGIC[entry.magic ?? 'ustar'], 257, 8, 'latin1');
  if (entry.major !== undefined) putNumber(block, 329, 8, entry.major);
  if (entry.minor !== undefined) putNumber(block, 337, 8, entry.minor);
  if (entry.prefix !== undefined) block.write(entry.prefix, 345, 155, 'latin1');
  entry.patch?.(block);
  block.fill(0x20, 148, 156);
  const sum = entry.checksum ?? block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
  return block;
}

const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc(-data.length & (BLOCK - 1))]);

/** One header with its data, exactly as told. */
export function raw(entry: RawEntry): Buffer {
  const data = typeof entry.data === 'string' ? Buffer.from(entry.data, 'latin1') : (entry.data ?? Buffer.alloc(0));
  return Buffer.concat([header(entry, data.length), padded(data)]);
}

/** A pax record, its length counted right. */
export function record(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  let length = body.length + 1;
  while (`${length}`.length + body.length !== length) length = `${length}`.length + body.length;
  return `${length}${body}`;
}

export type Records = readonly (readonly [key: string, value: string])[];

/** A pax extended header (`x`), or a global one (`g`). */
export const pax = (records: Records, flag = 'x'): Buffer =>
  raw({ name: 'pax', flag, data: records.map(([key, value]) => record(key, value)).join('') });

/** A GNU long name (`L`) or long link (`K`). */
export const gnuLong = (flag: 'L' | 'K', name: string): Buffer =>
  raw({ name: '././@LongLink', flag, magic: 'gnu', data: `${name}\0` });

/** A sound entry of any name and link length, with pax records where they are needed. */
export function entry(fields: RawEntry, records: Records = []): Buffer {
  const more: [string, string][] = records.map(([key, value]) => [key, value]);
  if (fields.name.length > 100) more.push(['path', fields.name]);
  if ((fields.link?.length ?? 0) > 100) more.push(['linkpath', fields.link ?? '']);
  return more.length === 0 ? raw(fields) : Buffer.concat([pax(more), raw(fields)]);
}

type Rest = Partial<RawEntry>;

export const file = (name: string, data: Buffer | string = '', rest: Rest = {}, records?: Records): Buffer =>
  entry({ name, data, ...rest }, records);
export const dir = (name: string, rest: Rest = {}, records?: Records): Buffer =>
  entry({ name, flag: '5', mode: 0o755, ...rest }, records);
export const symlink = (name: string, link: string, rest: Rest = {}, records?: Records): Buffer =>
  entry({ name, link, flag: '2', mode: 0o777, ...rest }, records);
export const hardlink = (name: string, link: string, rest: Rest = {}): Buffer =>
  entry({ name, link, flag: '1', ...rest });
export const device = (name: string, flag: '3' | '4', major: number | bigint, minor: number | bigint): Buffer =>
  raw({ name, flag, major, minor, mode: 0o666 });
export const fifo = (name: string): Buffer => raw({ name, flag: '6' });
export const whiteout = (name: string): Buffer => {
  const slash = name.lastIndexOf('/') + 1;
  return file(`${name.slice(0, slash)}.wh.${name.slice(slash)}`);
};
export const opaque = (directory: string): Buffer => file(`${directory}/.wh..wh..opq`);

/** The two zero blocks that end an archive. */
export const END = Buffer.alloc(2 * BLOCK);

export const archive = (...parts: readonly Buffer[]): Buffer => Buffer.concat([...parts, END]);
