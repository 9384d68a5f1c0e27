/** Decompression by Node's own zlib and zstd, off the calling thread. */
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { corrupt, type Inflater, OUTPUT_BYTES, requirePadding, type Sink } from './inflater.js';

type Engine = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

class StreamInflater implements Inflater {
  readonly #engine: Engine;
  #failure: unknown;
  /** The engine took no more: it is past its last member. */
  #isPast = false;

  constructor(engine: Engine, sink: Sink) {
    this.#engine = engine;
    engine.on('data', (chunk: Buffer) => {
      // An exception here would not reach whoever waits for the write.
      try {
        if (this.#failure === undefined) sink(chunk);
      } catch (error) {
        this.#fail(error);
      }
    });
    engine.on('error', (error) => this.#fail(corrupt(error.message, error)));
  }

  async push(input: Buffer): Promise<void> {
    const used = this.#isPast ? 0 : await this.#write(input);
    if (used === input.length) return;
    this.#isPast = true;
    requirePadding(input.subarray(used));
  }

  async finish(): Promise<void> {
    if (!this.#isPast) await this.#settled((done) => this.#engine.once('end', done).end());
  }

  close(): void {
    this.#engine.destroy();
  }

  /** The bytes that the engine wanted. */
  async #write(input: Buffer): Promise<number> {
    const before = this.#engine.bytesWritten;
    await this.#settled((done) => this.#engine.write(input, done));
    return this.#engine.bytesWritten - before;
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#engine.destroy();
  }

  /** Runs a step that calls back; the engine's `close` ends it too, since a destroyed engine may never call back. */
  async #settled(step: (done: () => void) => void): Promise<void> {
    if (this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.#engine.off('close', done);
          resolve();
        };
        this.#engine.once('close', done);
        step(done);
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** Gzip by zlib; concatenated members are one stream. The output chunk must be large: 16 KB ones are three times slower. */
export const openZlib = (sink: Sink): Inflater => new StreamInflater(createGunzip({ chunkSize: OUTPUT_BYTES }), sink);

/** Largest window, as a power of two: 128 MiB, what zstd(1) accepts unasked. */
const WINDOW_LOG = 27;

/** Zstandard (RFC 8878); concatenated and skippable frames are one stream. */
export const openZstd = (sink: Sink): Inflater =>
  new StreamInflater(
    createZstdDecompress({ chunkSize: OUTPUT_BYTES, params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG } }),
    sink,
  );
