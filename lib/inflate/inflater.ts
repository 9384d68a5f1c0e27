/** Decompression of a stream that arrives in pieces. */
import { invalidArgument, type KeelsonError } from '../../kernel/errors.js';

/** Receives output in order; a chunk is valid only during the call. What it throws comes out of the inflater's call. */
export type Sink = (chunk: Buffer) => void;

export interface Inflater {
  /** Takes compressed bytes; resolves when their output has gone to the sink. Calls must not overlap. */
  push(input: Buffer): Promise<void> | void;
  /** No more input. INVALID_ARGUMENT when that is in the middle of the stream. */
  finish(): Promise<void> | void;
  /** Frees what is held; to be called in any case. */
  close(): void;
}

/** Compressed bytes that cannot be decompressed. */
export const corrupt = (what: string, cause?: unknown): KeelsonError =>
  invalidArgument(`corrupt compressed data: ${what}`, cause === undefined ? {} : { cause });

/** Behind the last member only zeros may follow: padding, for zlib and gzip(1) too. Go refuses anything else as well. */
export function requirePadding(rest: Buffer): void {
  if (rest.some((byte) => byte !== 0)) throw corrupt('what follows its last member is none');
}

/** Output is handed over in pieces of at most this many bytes. */
export const OUTPUT_BYTES = 1 << 20;
