import { fromTimestamp, type TimestampMessage } from '../../lib/rpc/timestamp.js';

/** Milliseconds since the epoch; a missing moment is the epoch itself. */
export const toMillis = (moment: TimestampMessage | undefined): number =>
  moment === undefined ? 0 : Number(fromTimestamp(moment) / 1_000_000n);

/** As JSON shows it. */
export const toIso = (moment: TimestampMessage | undefined): string => new Date(toMillis(moment)).toISOString();
