/** Unpacks a layer while its bytes arrive for the content store. */
import type { AppliedLayer, LayerSink } from '../../kernel/contracts/diff.js';
import type { Tap } from './blobs.js';

/**
 * A tap fails alone: the download, which others may be waiting for, goes on.
 * Whoever unpacks learns of it by `failed` while bytes arrive, and by `result` at the end.
 */
export class LayerTap implements Tap {
  readonly #open: () => Promise<LayerSink>;
  readonly #onBytes: (bytes: number) => void;
  readonly #failed = new AbortController();
  #sink: LayerSink | undefined;
  #applied: Promise<AppliedLayer> | undefined;
  #begun = false;
  #bytes = 0;

  constructor(open: () => Promise<LayerSink>, onBytes: (bytes: number) => void) {
    this.#open = open;
    this.#onBytes = onBytes;
  }

  /** Aborted, with the error as its reason, when the layer cannot be unpacked and bytes of it are still to come. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  begin(): Promise<void> {
    return this.#guard(async () => {
      if (!this.#begun) this.#sink = await this.#open();
      // The download starts over: what was unpacked is worthless, the layer will be read from content.
      else await this.abort();
      this.#begun = true;
    });
  }

  write(chunk: Uint8Array): Promise<void> {
    return this.#guard(async () => {
      if (!this.#sink) return;
      await this.#sink.write(chunk);
      this.#bytes += chunk.length;
      this.#onBytes(this.#bytes);
    });
  }

  end(): void {
    if (this.#failed.signal.aborted || !this.#sink) return;
    this.#applied = this.#sink.end();
    // No reason to give up the download any more: all bytes are here, and that their digest is wrong says more
    // than what unpacking made of them. `result` throws this error when the digest is right.
    this.#applied.catch(() => {});
  }

  /** The outcome when it saw the whole layer; undefined when the layer came from elsewhere. Throws what it failed with. */
  async result(): Promise<AppliedLayer | undefined> {
    if (this.#failed.signal.aborted) throw this.#failed.signal.reason;
    return this.#applied;
  }

  /** Releases whatever is still open. Idempotent. */
  async abort(): Promise<void> {
    const sink = this.#sink;
    this.#sink = undefined;
    await sink?.abort();
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    if (this.#failed.signal.aborted) return;
    try {
      await work();
    } catch (error) {
      this.#failed.abort(error);
    }
  }
}
