/**
 * Moments: nanoseconds since the Unix epoch here, google.protobuf.Timestamp on
 * the wire. Both exact.
 */
import { invalidArgument } from '../../kernel/errors.js';

/** google.protobuf.Timestamp: `nanos` is 0 to 999999999 and counts forward, also before 1970. */
export interface TimestampMessage {
  seconds: bigint;
  nanos: number;
}

const NANOS_PER_SECOND = 1_000_000_000n;
const NANOS_PER_MILLI = 1_000_000n;

/** Go's zero time, 0001-01-01T00:00:00Z: what Go clients hold for "never". */
export const ZERO_TIME = -62_135_596_800n * NANOS_PER_SECOND;

/** The wall clock; exact to the millisecond, as far as the platform tells. */
export const now = (): bigint => BigInt(Date.now()) * NANOS_PER_MILLI;

export function toTimestamp(moment: bigint): TimestampMessage {
  const rest = moment % NANOS_PER_SECOND;
  const nanos = rest < 0n ? rest + NANOS_PER_SECOND : rest;
  return { seconds: (moment - nanos) / NANOS_PER_SECOND, nanos: Number(nanos) };
}

/** A message that is absent is Go's zero time. INVALID_ARGUMENT when `nanos` is out of its range. */
export function fromTimestamp(message: TimestampMessage | undefined): bigint {
  if (message === undefined) return ZERO_TIME;
  if (message.nanos < 0 || message.nanos >= Number(NANOS_PER_SECOND)) {
    throw invalidArgument(`nanos of a timestamp are ${message.nanos}, expected 0 to 999999999`);
  }
  return message.seconds * NANOS_PER_SECOND + BigInt(message.nanos);
}
