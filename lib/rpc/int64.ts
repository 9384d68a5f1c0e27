/**
 * 64-bit integers of the wire (always bigint) against the safe integers of
 * JavaScript. Nothing is ever rounded.
 */
import { invalidArgument, outOfRange } from '../../kernel/errors.js';

/**
 * A wire integer as a number. OUT_OF_RANGE when it is not exact as one.
 * `what` names the field: `size of "sha256:..."`.
 */
export function toSafeInteger(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw outOfRange(`${what} is ${value}, which is beyond 2^53 - 1`);
  return number;
}

/** As {@link toSafeInteger} for sizes and offsets. INVALID_ARGUMENT below 0. */
export function toSize(value: bigint, what: string): number {
  if (value < 0n) throw invalidArgument(`${what} is ${value}, which is negative`);
  return toSafeInteger(value, what);
}

/** A safe integer as a wire integer. OUT_OF_RANGE for fractions and unsafe numbers. */
export function toInt64(value: number, what: string): bigint {
  if (!Number.isSafeInteger(value)) throw outOfRange(`${what} is ${value}, which is not a safe integer`);
  return BigInt(value);
}
