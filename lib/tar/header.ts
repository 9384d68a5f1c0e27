/**
 * One 512-byte header block, in the v7, ustar, star and old GNU layouts
 * (tar(5) of libarchive; POSIX.1-2017, pax).
 */
import { BLOCK, malformed, type TarTime } from './entry.js';
import { boundTime, numberField, textField } from './fields.js';

export interface Header {
  /** The type flag as a character; NUL is the old form of `0`. */
  readonly flag: string;
  readonly name: string;
  readonly link: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of data behind the header, as written. */
  readonly size: number;
  readonly mtime: TarTime;
  readonly atime?: TarTime;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly isGnu: boolean;
}

/** True for a block of zeros; two of them end an archive. */
export function isZeroBlock(block: Buffer, start: number): boolean {
  for (let at = start; at < start + BLOCK; at++) if (block[at] !== 0) return false;
  return true;
}

const CHECKSUM = 148;

/** The sum over the block, its checksum field taken as spaces; old writers summed signed bytes. */
function verifyChecksum(block: Buffer, start: number): void {
  let unsigned = 0;
  let high = 0;
  for (let at = start; at < start + BLOCK; at++) {
    const byte = block[at] ?? 0;
    unsigned += byte;
    high += byte >> 7;
  }
  for (let at = start + CHECKSUM; at < start + CHECKSUM + 8; at++) {
    const byte = block[at] ?? 0;
    unsigned += 0x20 - byte;
    high -= byte >> 7;
  }
  const written = numberField(block, start + CHECKSUM, 8);
  if (written !== unsigned && written !== unsigned - high * 256) throw malformed('the checksum of a header is wrong');
}

type Format = 'v7' | 'ustar' | 'star' | 'gnu';

function formatOf(block: Buffer, start: number): Format {
  const magic = block.toString('latin1', start + 257, start + 265);
  if (magic === 'ustar  \0') return 'gnu';
  if (!magic.startsWith('ustar\0')) return 'v7';
  return block.toString('latin1', start + 508, start + 512) === 'tar\0' ? 'star' : 'ustar';
}

const isAscii = (text: string): boolean => /^[\0-\x7f]*$/.test(text);

interface Extension {
  readonly prefix: string;
  readonly atime?: TarTime;
}

const timeField = (block: Buffer, start: number): { atime?: TarTime } =>
  block[start] === 0 ? {} : { atime: boundTime(numberField(block, start, 12)) };

/**
 * The GNU layout has times where ustar has a name prefix. Some writers put a
 * ustar prefix there all the same: what does not read as a time is taken as one.
 */
function gnuExtension(block: Buffer, start: number): Extension {
  try {
    if (block[start + 357] !== 0) numberField(block, start + 357, 12);
    return { prefix: '', ...timeField(block, start + 345) };
  } catch {
    const prefix = textField(block, start + 345, 155);
    return { prefix: isAscii(prefix) ? prefix : '' };
  }
}

function extensionOf(block: Buffer, start: number, format: Format): Extension {
  switch (format) {
    case 'v7':
      return { prefix: '' };
    case 'ustar':
      return { prefix: textField(block, start + 345, 155) };
    case 'star':
      numberField(block, start + 488, 12);
      return { prefix: textField(block, start + 345, 131), ...timeField(block, start + 476) };
    case 'gnu':
      return gnuExtension(block, start);
  }
}

/** Reads the header at `start`. INVALID_ARGUMENT for a wrong checksum or a field that is no number. */
export function parseHeader(block: Buffer, start: number): Header {
  verifyChecksum(block, start);
  const format = formatOf(block, start);
  const { prefix, atime } = extensionOf(block, start, format);
  const name = textField(block, start, 100);
  const hasDevice = format !== 'v7';
  return {
    flag: String.fromCharCode(block[start + 156] ?? 0),
    name: prefix === '' ? name : `${prefix}/${name}`,
    link: textField(block, start + 157, 100),
    mode: numberField(block, start + 100, 8) & 0o7777,
    uid: numberField(block, start + 108, 8),
    gid: numberField(block, start + 116, 8),
    size: numberField(block, start + 124, 12),
    mtime: boundTime(numberField(block, start + 136, 12)),
    ...(atime === undefined ? {} : { atime }),
    deviceMajor: hasDevice ? numberField(block, start + 329, 8) : 0,
    deviceMinor: hasDevice ? numberField(block, start + 337, 8) : 0,
    isGnu: format === 'gnu',
  };
}
