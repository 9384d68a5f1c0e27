/**
 * Gzip by Intel's ISA-L (`libisal.so.2`, Debian package libisal2), at more
 * than twice the speed of zlib. Its state is a C struct that this file lays
 * out by hand, so it is checked against known streams before first use.
 */
import { crc32, gunzipSync, gzipSync } from 'node:zlib';
import { koffi } from '../linux/libc.js';
import { corrupt, type Inflater, OUTPUT_BYTES, requirePadding, type Sink } from './inflater.js';

/** struct inflate_state of igzip_lib.h, 64-bit; the buffer is larger, in case the struct grows. */
const NEXT_OUT = 0;
const AVAIL_OUT = 8;
const NEXT_IN = 16;
const AVAIL_IN = 32;
const BLOCK_STATE = 21160;
const CRC_FLAG = 21172;
const STRUCT_BYTES = 87368;
const STATE_BYTES = 128 * 1024;

const BLOCK_FINISH = 5;
const GZIP = 1;

interface Library {
  isal_inflate_init(state: Uint8Array): void;
  isal_inflate_reset(state: Uint8Array): void;
  isal_inflate(state: Uint8Array): number;
}

const ERRORS: Readonly<Record<number, string>> = {
  [-1]: 'invalid block',
  [-2]: 'invalid symbol',
  [-3]: 'invalid distance',
  [-4]: 'invalid gzip header',
  [-5]: 'unsupported compression method',
  [-6]: 'wrong checksum',
};

let output: { readonly buffer: Buffer; readonly address: bigint } | undefined;

/** One buffer for all streams of the thread: what is in it is consumed before the call returns. */
function outputBuffer(): { readonly buffer: Buffer; readonly address: bigint } {
  if (!output) {
    const buffer = Buffer.alloc(OUTPUT_BYTES);
    output = { buffer, address: koffi.address(buffer) };
  }
  return output;
}

/** First byte of a gzip member (RFC 1952, 2.3.1). */
const MEMBER = 0x1f;

class IsalInflater implements Inflater {
  readonly #library: Library;
  readonly #sink: Sink;
  readonly #state = Buffer.alloc(STATE_BYTES);
  /** `between` members, `inside` one, or past the last, where the rest is padding. */
  #where: 'start' | 'between' | 'inside' | 'past' = 'start';

  constructor(library: Library, sink: Sink) {
    this.#library = library;
    this.#sink = sink;
    library.isal_inflate_init(this.#state);
  }

  push(input: Buffer): void {
    if (input.length === 0) return;
    if (this.#where === 'past') {
      requirePadding(input);
      return;
    }
    this.#state.writeBigUInt64LE(koffi.address(input), NEXT_IN);
    this.#state.writeUInt32LE(input.length, AVAIL_IN);
    while (this.#where === 'inside' || this.#startMember(input)) if (!this.#inflate()) return;
  }

  finish(): void {
    if (this.#where === 'inside' || this.#where === 'start') throw corrupt('it ends too early');
  }

  close(): void {}

  /** False when there is no input left to start a member with. */
  #startMember(input: Buffer): boolean {
    const left = this.#state.readUInt32LE(AVAIL_IN);
    if (left === 0) return false;
    const rest = input.subarray(input.length - left);
    if (this.#where === 'between' && rest[0] !== MEMBER) {
      requirePadding(rest);
      this.#where = 'past';
      return false;
    }
    this.#library.isal_inflate_reset(this.#state);
    this.#state.writeUInt32LE(GZIP, CRC_FLAG);
    this.#where = 'inside';
    return true;
  }

  /** One step. False when it needs more input. */
  #inflate(): boolean {
    const state = this.#state;
    const { buffer, address } = outputBuffer();
    state.writeBigUInt64LE(address, NEXT_OUT);
    state.writeUInt32LE(OUTPUT_BYTES, AVAIL_OUT);
    const status = this.#library.isal_inflate(state);
    if (status < 0) throw corrupt(ERRORS[status] ?? `status ${status}`);
    const produced = OUTPUT_BYTES - state.readUInt32LE(AVAIL_OUT);
    if (produced > 0) this.#sink(buffer.subarray(0, produced));
    if (state.readUInt32LE(BLOCK_STATE) === BLOCK_FINISH) this.#where = 'between';
    return this.#where === 'between' || produced === OUTPUT_BYTES;
  }
}

/** Members of the streams that the layout is checked with: stored, fixed and dynamic blocks, and none at all. */
function knownMembers(): Buffer[] {
  const text = Buffer.from('the layout of a struct is not a promise '.repeat(40));
  const noise = Buffer.from(Array.from({ length: 700 }, (_, index) => crc32(`${index}`) & 0xff));
  return [
    gzipSync(noise, { level: 0 }),
    gzipSync(Buffer.from('abc')),
    gzipSync(Buffer.concat([text, noise, text])),
    gzipSync(Buffer.alloc(0)),
  ];
}

function inflateAll(library: Library, pieces: readonly Buffer[]): Buffer {
  const chunks: Buffer[] = [];
  const inflater = new IsalInflater(library, (chunk) => chunks.push(Buffer.from(chunk)));
  for (const piece of pieces) inflater.push(piece);
  inflater.finish();
  return Buffer.concat(chunks);
}

/** True when init touched the fields where this file expects them, and nothing behind the struct. */
function layoutMatches(library: Library): boolean {
  const state = Buffer.alloc(STATE_BYTES, 0xa5);
  library.isal_inflate_init(state);
  const cleared = [NEXT_IN, NEXT_IN + 4, AVAIL_IN, BLOCK_STATE, CRC_FLAG];
  return cleared.every((offset) => state.readUInt32LE(offset) === 0) && state.indexOf(0xa5) >= 0 && isUntouched(state);
}

const isUntouched = (state: Buffer): boolean => state.subarray(STRUCT_BYTES).every((byte) => byte === 0xa5);

const refuses = (library: Library, stream: Buffer): boolean => {
  try {
    inflateAll(library, [stream]);
    return false;
  } catch {
    return true;
  }
};

/** Why the library is not to be trusted; undefined when it inflates known streams rightly. */
function mismatch(library: Library): string | undefined {
  if (!layoutMatches(library)) return 'its struct inflate_state is laid out differently';
  const members = knownMembers();
  const stream = Buffer.concat(members);
  const expected = Buffer.from(members.map((member) => gunzip(member)).join(''), 'latin1');
  const pieces = Array.from(stream, (_, index) => stream.subarray(index, index + 1));
  if (!inflateAll(library, [stream]).equals(expected)) return 'it inflates a known stream to other bytes';
  if (!inflateAll(library, pieces).equals(expected)) return 'it inflates a known stream, byte by byte, to other bytes';
  const [first = stream] = members;
  const damaged = Buffer.from(first);
  damaged.writeUInt32LE(~first.readUInt32LE(first.length - 8) >>> 0, first.length - 8);
  if (!refuses(library, damaged)) return 'it accepts a wrong checksum';
  return refuses(library, first.subarray(0, -1)) ? undefined : 'it accepts a truncated stream';
}

const gunzip = (member: Buffer): string => gunzipSync(member).toString('latin1');

export type Isal = { readonly open: (sink: Sink) => Inflater } | { readonly unavailable: string };

/** Loads and checks the library, once for each thread. */
export function loadIsal(file = 'libisal.so.2'): Isal {
  try {
    const native = koffi.load(file);
    const library: Library = {
      isal_inflate_init: native.func('void isal_inflate_init(void *)'),
      isal_inflate_reset: native.func('void isal_inflate_reset(void *)'),
      isal_inflate: native.func('int isal_inflate(void *)'),
    };
    const problem = mismatch(library);
    return problem === undefined
      ? { open: (sink) => new IsalInflater(library, sink) }
      : { unavailable: `${file}: ${problem}` };
  } catch (error) {
    return { unavailable: error instanceof Error ? error.message : String(error) };
  }
}
