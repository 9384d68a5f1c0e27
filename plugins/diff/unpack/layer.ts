/** One layer on its way from compressed bytes to files, in one pass: decompressed, hashed, walked, written. */
import type { Hash } from 'node:crypto';
import { failedPrecondition, resourceExhausted } from '../../../kernel/errors.js';
import { CANONICAL, formatDigest, hasher, parseDigest } from '../../../lib/digest.js';
import { Detector, openPlain } from '../../../lib/inflate/decompressor.js';
import type { Inflater } from '../../../lib/inflate/inflater.js';
import { syncfsInBackground } from '../../../lib/linux/file.js';
import { TarWalker } from '../../../lib/tar/walker.js';
import type { Compression } from '../media-types.js';
import type { Warn } from './attributes.js';
import type { Target } from './target.js';
import { Unpacker, type UnpackLimits } from './unpacker.js';

export interface LayerLimits extends UnpackLimits {
  /** Uncompressed bytes for each compressed one, once there are many. */
  readonly ratio: number;
}

/** What is to be unpacked, and how; plain data. */
export interface LayerJob {
  readonly target: Target;
  readonly compression: Compression;
  readonly limits: LayerLimits;
  /** Of the compressed bytes; checked when given. */
  readonly digest?: string;
  readonly sync: boolean;
}

export interface LayerResult {
  readonly diffId: string;
  /** Bytes of the uncompressed archive. */
  readonly size: number;
  readonly unresolved: boolean;
}

/** Uncompressed bytes that any layer may have, however well it compresses. */
const RATIO_FLOOR = 64 * 2 ** 20;

export class Layer {
  readonly #job: LayerJob;
  readonly #unpacker: Unpacker;
  readonly #walker: TarWalker;
  readonly #inflater: Inflater;
  readonly #diffId = hasher(CANONICAL);
  readonly #digest: Hash | undefined;
  #compressed = 0;
  #size = 0;

  /** Throws when the target cannot be opened. */
  constructor(job: LayerJob, makesDevices: boolean, warn: Warn) {
    this.#job = job;
    this.#digest = job.digest === undefined ? undefined : hasher(parseDigest(job.digest).algorithm);
    const { target, limits, sync } = job;
    this.#unpacker = new Unpacker({ target, limits, sync, makesDevices, warn });
    this.#walker = new TarWalker(this.#unpacker);
    const sink = (chunk: Buffer): void => this.#take(chunk);
    this.#inflater = job.compression === 'plain' ? openPlain(sink) : new Detector(sink);
  }

  /** Takes compressed bytes. Calls must not overlap. */
  push(chunk: Buffer): Promise<void> | void {
    this.#digest?.update(chunk);
    this.#compressed += chunk.length;
    return this.#inflater.push(chunk);
  }

  /** All bytes have come. INVALID_ARGUMENT for a broken layer, FAILED_PRECONDITION for bytes of another digest. */
  async finish(): Promise<void> {
    this.#checkDigest();
    await this.#inflater.finish();
    this.#walker.finish();
    this.#unpacker.finish();
  }

  /** True when, behind `finish`, the lower layers must be told with `settle`. */
  get needsLowers(): boolean {
    return this.#unpacker.needsLowers;
  }

  /** Directories of the layers below, topmost first; undefined when they are not to be had. */
  settle(lowers: readonly string[] | undefined): void {
    this.#unpacker.settle(lowers);
  }

  /** Behind all of that. The disk is waited for apart, since this thread may have other layers to unpack. */
  async result(): Promise<LayerResult> {
    const { unresolved, root } = this.#unpacker;
    if (this.#job.sync && !unresolved) await syncfsInBackground(root, this.#job.target.root);
    return { diffId: formatDigest(CANONICAL, this.#diffId.digest('hex')), size: this.#size, unresolved };
  }

  close(): void {
    this.#inflater.close();
    this.#unpacker.close();
  }

  #take(chunk: Buffer): void {
    this.#size += chunk.length;
    this.#checkLimits();
    this.#diffId.update(chunk);
    this.#walker.push(chunk);
  }

  #checkLimits(): void {
    const { bytes, ratio } = this.#job.limits;
    if (this.#size > bytes) throw resourceExhausted(`the layer has more than ${bytes} uncompressed bytes`);
    if (this.#size > RATIO_FLOOR && this.#size > this.#compressed * ratio) {
      throw resourceExhausted(`the layer takes more than ${ratio} times its compressed size`);
    }
  }

  #checkDigest(): void {
    if (!this.#digest) return;
    const { algorithm } = parseDigest(this.#job.digest ?? '');
    const actual = formatDigest(algorithm, this.#digest.digest('hex'));
    if (actual !== this.#job.digest) {
      throw failedPrecondition(`the layer's bytes have digest "${actual}", not "${this.#job.digest}"`);
    }
  }
}
