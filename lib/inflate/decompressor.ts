/** Chooses the decompression of a stream by its first bytes, as containerd does whatever the media type claims. */
import { type Inflater, OUTPUT_BYTES, type Sink } from './inflater.js';
import { type Isal, loadIsal } from './isal.js';
import { openZlib, openZstd } from './stream.js';

let isal: Isal | undefined;

const loaded = (): Isal => {
  isal ??= loadIsal();
  return isal;
};

/** Which gzip implementation is in use, and why not the faster one. */
export function gzipEngine(): { readonly name: 'isal' | 'zlib'; readonly reason?: string } {
  const state = loaded();
  return 'open' in state ? { name: 'isal' } : { name: 'zlib', reason: state.unavailable };
}

/** Gzip (RFC 1952) by ISA-L where it can be had, else by zlib. */
export function openGzip(sink: Sink): Inflater {
  const state = loaded();
  return 'open' in state ? state.open(sink) : openZlib(sink);
}

/** No compression: output is input, in pieces of the usual size. */
class Plain implements Inflater {
  readonly #sink: Sink;
  constructor(sink: Sink) {
    this.#sink = sink;
  }
  push(input: Buffer): void {
    for (let at = 0; at < input.length; at += OUTPUT_BYTES) this.#sink(input.subarray(at, at + OUTPUT_BYTES));
  }
  finish(): void {}
  close(): void {}
}

export const openPlain = (sink: Sink): Inflater => new Plain(sink);

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b, 0x08]);
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const ENOUGH = 8;

/** A zstd stream may begin with a skippable frame: any of sixteen magic numbers, then a length. */
const isSkippableFrame = (head: Buffer): boolean =>
  head.length >= ENOUGH && (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50;

const startsWith = (head: Buffer, magic: Buffer): boolean => head.subarray(0, magic.length).equals(magic);

function openFor(head: Buffer, sink: Sink): Inflater {
  if (startsWith(head, GZIP_MAGIC)) return openGzip(sink);
  if (startsWith(head, ZSTD_MAGIC) || isSkippableFrame(head)) return openZstd(sink);
  return openPlain(sink);
}

/** Gzip, zstd or plain, whichever the first bytes show. */
export class Detector implements Inflater {
  readonly #sink: Sink;
  #head = Buffer.alloc(0);
  #inflater: Inflater | undefined;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  push(input: Buffer): Promise<void> | void {
    if (this.#inflater) return this.#inflater.push(input);
    if (this.#head.length === 0 && input.length >= ENOUGH) return this.#open(input);
    this.#head = Buffer.concat([this.#head, input]);
    return this.#head.length >= ENOUGH ? this.#open(this.#head) : undefined;
  }

  async finish(): Promise<void> {
    if (!this.#inflater) await this.#open(this.#head);
    await this.#inflater?.finish();
  }

  close(): void {
    this.#inflater?.close();
  }

  #open(head: Buffer): Promise<void> | void {
    this.#inflater = openFor(head, this.#sink);
    this.#head = Buffer.alloc(0);
    return this.#inflater.push(head);
  }
}
