/**
 * A large blob in ranges side by side, for registries that give a single connection less than the network could carry.
 * Whoever takes the bytes sees them in order. A range holds its connection's turn until its bytes are taken, so that
 * the turns bound the memory as well: one range for each.
 */
import { type PartTarget, RangeIgnored } from './blob-request.js';

export interface RangeSettings {
  /** Bytes of a range; blobs that are no larger are fetched in one request. */
  readonly size: number;
  /** One more connection, to be given back by calling what is returned; undefined when none is idle. */
  idle(): (() => void) | undefined;
}

export interface Extent {
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;
}

export type FetchRange = (extent: Extent, into: PartTarget, signal: AbortSignal) => Promise<void>;

export interface RangedBlobOptions {
  readonly size: number;
  readonly ranges: RangeSettings;
  readonly target: Pick<PartTarget, 'received' | 'take'> & { readonly offset: number };
  readonly fetch: FetchRange;
}

export interface RangesOutcome {
  /** The offset up to which bytes were taken. */
  readonly reached: number;
  /** Whether a server does not serve ranges: the rest must be had otherwise. */
  readonly isIgnored: boolean;
}

/** Bytes handed over at once. */
const CHUNK = 1024 * 1024;

/** One range on its way, in memory that workers can read. */
class Range implements PartTarget {
  readonly extent: Extent;
  readonly bytes: Uint8Array;
  readonly answered: () => void;
  readonly #onReceived: (bytes: number) => void;
  #received = 0;
  #filled = 0;
  #failure: { readonly reason: unknown } | undefined;
  #more: PromiseWithResolvers<void> | undefined;

  constructor(extent: Extent, memory: Uint8Array, on: { answered(): void; received(bytes: number): void }) {
    this.extent = extent;
    this.bytes = memory.subarray(0, extent.end - extent.start);
    this.answered = on.answered;
    this.#onReceived = on.received;
  }

  received(upTo: number): void {
    const more = upTo - this.extent.start - this.#received;
    // What a broken connection brought in part comes again.
    if (more <= 0) return;
    this.#received += more;
    this.#onReceived(more);
  }

  allocate(): Uint8Array {
    return this.bytes.subarray(this.#filled, this.#filled + CHUNK - (this.#filled % CHUNK));
  }

  async take(chunk: Uint8Array): Promise<void> {
    this.#filled += chunk.length;
    this.#more?.resolve();
  }

  fail(reason: unknown): void {
    this.#failure = { reason };
    this.#more?.resolve();
  }

  /** Resolves when so many bytes are here; rejects when they will not come. */
  async has(bytes: number): Promise<void> {
    while (this.#filled < bytes) {
      if (this.#failure) throw this.#failure.reason;
      this.#more = Promise.withResolvers();
      await this.#more.promise;
    }
  }
}

interface Begun {
  readonly range: Range;
  readonly memory: Uint8Array;
  readonly giveBack: () => void;
}

export class RangedBlob {
  readonly #options: RangedBlobOptions;
  readonly #stop = new AbortController();
  /** In order. */
  readonly #begun: Begun[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #unused: Uint8Array[] = [];
  #next: number;
  #reached: number;
  #received: number;
  /** Whether the turn that the caller has is not in use. */
  #hasOwnTurn = true;
  /** Nobody else's turn is taken before a server has shown that it serves ranges. */
  #isServed = false;

  constructor(options: RangedBlobOptions) {
    this.#options = options;
    const { offset } = options.target;
    this.#next = offset;
    this.#reached = offset;
    this.#received = offset;
  }

  async run(signal: AbortSignal): Promise<RangesOutcome> {
    const either = AbortSignal.any([signal, this.#stop.signal]);
    try {
      this.#begin(either);
      await this.#handOver(either);
      return { reached: this.#reached, isIgnored: false };
    } catch (error) {
      if (!(error instanceof RangeIgnored)) throw error;
      return { reached: this.#reached, isIgnored: true };
    } finally {
      this.#stop.abort();
      await Promise.all(this.#running);
      for (const { giveBack } of this.#begun) giveBack();
    }
  }

  /** Begins as many ranges as there are turns for. */
  #begin(signal: AbortSignal): void {
    const { size, ranges } = this.#options;
    while (this.#next < size) {
      const giveBack = this.#turn();
      if (!giveBack) return;
      const extent = { start: this.#next, end: Math.min(this.#next + ranges.size, size) };
      this.#next = extent.end;
      const memory = this.#unused.pop() ?? new Uint8Array(new SharedArrayBuffer(ranges.size));
      const range = new Range(extent, memory, {
        answered: () => this.#served(signal),
        received: (bytes) => this.#arrived(bytes),
      });
      this.#begun.push({ range, memory, giveBack });
      this.#fetch(range, signal);
    }
  }

  #turn(): (() => void) | undefined {
    if (!this.#hasOwnTurn) return this.#isServed ? this.#options.ranges.idle() : undefined;
    this.#hasOwnTurn = false;
    return () => {
      this.#hasOwnTurn = true;
    };
  }

  #served(signal: AbortSignal): void {
    if (this.#isServed) return;
    this.#isServed = true;
    this.#begin(signal);
  }

  #arrived(bytes: number): void {
    this.#received += bytes;
    this.#options.target.received?.(this.#received);
  }

  #fetch(range: Range, signal: AbortSignal): void {
    const running = this.#options
      .fetch(range.extent, range, signal)
      .catch((error: unknown) => range.fail(error))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #handOver(signal: AbortSignal): Promise<void> {
    for (let first = this.#begun[0]; first; first = this.#begun[0]) {
      const { range, memory, giveBack } = first;
      const { length } = range.bytes;
      for (let from = 0; from < length; from += CHUNK) {
        const to = Math.min(from + CHUNK, length);
        await range.has(to);
        await this.#options.target.take(range.bytes.subarray(from, to));
        this.#reached = range.extent.start + to;
      }
      this.#begun.shift();
      this.#unused.push(memory);
      giveBack();
      this.#begin(signal);
    }
  }
}
