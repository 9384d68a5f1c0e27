/** The fields of tar headers: text, octal and base-256 numbers, decimal numbers and times of pax records. */
import { malformed, type TarTime } from './entry.js';

/** Bytes up to the first NUL. */
export function textField(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  const limit = start + length;
  return block.toString('latin1', start, end === -1 || end > limit ? limit : end);
}

const isPadding = (byte: number | undefined): boolean => byte === 0x20 || byte === 0;

function octal(block: Buffer, start: number, limit: number): number {
  let [from, to] = [start, limit];
  while (from < to && isPadding(block[from])) from++;
  while (from < to && isPadding(block[to - 1])) to--;
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = (block[at] ?? 0) - 0x30;
    if (digit === -0x30) break;
    if (digit < 0 || digit > 7) throw malformed('a number that is not octal');
    value = value * 8 + digit;
  }
  return value;
}

/** Two's complement, big endian; the top bit of the field is the mark of this encoding, not part of the number. */
function base256(block: Buffer, start: number, limit: number): number {
  const negative = ((block[start] ?? 0) & 0x40) !== 0;
  let value = 0n;
  for (let at = start; at < limit; at++) {
    const byte = at === start ? (block[at] ?? 0) & 0x7f : (block[at] ?? 0);
    value = (value << 8n) | BigInt(byte);
  }
  const bits = BigInt((limit - start) * 8 - 1);
  if (negative) value -= 1n << bits;
  if (!isInt64(value)) throw malformed('a number of more than 64 bits');
  return Number(value);
}

/**
 * A number in octal, or in base 256 when the field's first bit is set (GNU).
 * Beyond 2^53 it is no longer exact, but still beyond 2^53.
 */
export function numberField(block: Buffer, start: number, length: number): number {
  const isBase256 = ((block[start] ?? 0) & 0x80) !== 0;
  return isBase256 ? base256(block, start, start + length) : octal(block, start, start + length);
}

const isInt64 = (value: bigint): boolean => BigInt.asIntN(64, value) === value;

/** A decimal integer of a pax record. Beyond 2^53 it is no longer exact, but still beyond 2^53. */
export function decimal(text: string): number {
  const fits = /^[+-]?\d{1,30}$/.test(text) && isInt64(BigInt(text.replace('+', '')));
  if (!fits) throw malformed(`"${text.slice(0, 32)}" is not a decimal number of at most 64 bits`);
  return Number(text);
}

/** Refuses what is not a whole number from 0 to 2^53 - 1. */
export function byteCount(value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed(`${value} is not a size`);
}

const EPOCH: TarTime = { seconds: 0, nanos: 0 };

/** 2^63 - 1 nanoseconds, in the year 2262: where containerd, and Go underneath, see the end of time. */
const LAST: TarTime = { seconds: 9_223_372_036, nanos: 854_775_807 };

/** The time itself, or the epoch where it lies before it or too late for a filesystem. */
export function boundTime(seconds: number, nanos = 0): TarTime {
  const isLate = seconds > LAST.seconds || (seconds === LAST.seconds && nanos > LAST.nanos);
  return seconds < 0 || isLate ? EPOCH : { seconds, nanos };
}

/** A pax time: decimal seconds with any number of digits after the point. What is not a time is the epoch. */
export function paxTime(text: string): TarTime {
  const match = /^(\d{1,19})(?:\.(\d*))?$/.exec(text);
  if (!match) return EPOCH;
  const [, seconds = '', fraction = ''] = match;
  return boundTime(Number(seconds), Number(fraction.slice(0, 9).padEnd(9, '0')));
}

export const later = (a: TarTime, b: TarTime): TarTime =>
  a.seconds > b.seconds || (a.seconds === b.seconds && a.nanos > b.nanos) ? a : b;
