/** Tar archives taken apart, changed and put together again: what a broken differ would see in them. */
import { archive, END } from '../../hostile/tar.js';

const BLOCK = 512;

/** Where a field is in its header, and how long it is. */
const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
} as const;
const CHECKSUM = 148;
const FLAG = 156;
const LINK = [157, 100] as const;

/** A header with its data. */
export interface Part {
  readonly name: string;
  /** The type flag. */
  readonly flag: string;
  readonly link: string;
  readonly data: Buffer;
  readonly header: Buffer;
}

const textAt = (header: Buffer, [at, length]: readonly [number, number]): string => {
  const text = header.toString('latin1', at, at + length);
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
};

export function partsOf(tar: Buffer): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at + BLOCK <= tar.length; ) {
    const header = tar.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    const size = Number.parseInt(textAt(header, FIELDS.size), 8) || 0;
    const [name, link] = [textAt(header, FIELDS.name), textAt(header, LINK)];
    const flag = header.toString('latin1', FLAG, FLAG + 1);
    parts.push({ name, flag, link, header, data: tar.subarray(at + BLOCK, at + BLOCK + size) });
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return parts;
}

const padding = (length: number): Buffer => Buffer.alloc(-length & (BLOCK - 1));

export const archiveOf = (parts: readonly Part[]): Buffer =>
  archive(...parts.map(({ header, data }) => Buffer.concat([header, data, padding(data.length)])));

type Changes = { readonly [K in keyof typeof FIELDS]?: string | number } & {
  readonly flag?: string;
  readonly data?: Buffer;
};

/** The part with fields of its header set anew, numbers in octal, and its checksum made right. */
export function changed(part: Part, { flag = part.flag, data = part.data, ...fields }: Changes): Part {
  const header = Buffer.from(part.header);
  const all: Changes = { ...fields, size: data.length };
  for (const key of ['name', 'mode', 'uid', 'gid', 'size', 'mtime'] as const) {
    const value = all[key];
    const [at, length] = FIELDS[key];
    if (value === undefined) continue;
    const text = typeof value === 'number' ? value.toString(8).padStart(length - 1, '0') : value;
    header.fill(0, at, at + length).write(text, at, length, 'latin1');
  }
  header.write(flag, FLAG, 1, 'latin1');
  header.fill(' ', CHECKSUM, CHECKSUM + 8);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, CHECKSUM, 8, 'latin1');
  return { ...part, flag, data, header, name: textAt(header, FIELDS.name) };
}

/** The parts of what `hostile/tar.ts` writes. */
export const partsOfBlocks = (...blocks: readonly Buffer[]): Part[] => partsOf(Buffer.concat([...blocks, END]));
