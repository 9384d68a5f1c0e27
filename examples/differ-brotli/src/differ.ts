import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type BrotliDecompress, createBrotliDecompress } from 'node:zlib';
import type { AppliedLayer, ApplyLayer, Differ, LayerSink } from 'keelson/contracts/diff';
import { failedPrecondition, invalidArgument, unavailable, unimplemented } from 'keelson/errors';

export const MEDIA_TYPE = 'application/vnd.oci.image.layer.v1.tar+brotli';
const PLAIN = 'application/vnd.oci.image.layer.v1.tar';

/** Decompresses what is written to it into the sink of another differ, and hashes both ways. */
class BrotliSink implements LayerSink {
  readonly #plain: LayerSink;
  readonly #digest: string | undefined;
  readonly #hash = createHash('sha256');
  readonly #decompress: BrotliDecompress = createBrotliDecompress();
  readonly #done: Promise<void>;

  constructor(plain: LayerSink, digest: string | undefined) {
    this.#plain = plain;
    this.#digest = digest;
    this.#done = this.#pump();
    // told to whoever writes or ends; nobody has to wait for this one
    this.#done.catch(() => undefined);
  }

  async #pump(): Promise<void> {
    try {
      for await (const chunk of this.#decompress) await this.#plain.write(chunk);
    } catch (error) {
      const isStreams = error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_');
      throw isStreams ? invalidArgument(`the layer is not a Brotli stream: ${error.message}`, { cause: error }) : error;
    }
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk);
    // the caller may use the chunk again
    if (this.#decompress.write(Buffer.from(chunk))) return;
    await Promise.race([once(this.#decompress, 'drain'), this.#done]);
  }

  async end(): Promise<AppliedLayer> {
    try {
      this.#decompress.end();
      await this.#done;
      const digest = `sha256:${this.#hash.digest('hex')}`;
      if (this.#digest !== undefined && this.#digest !== digest)
        throw failedPrecondition(`the layer is "${digest}", expected "${this.#digest}"`);
    } catch (error) {
      await this.abort();
      throw error;
    }
    return this.#plain.end();
  }

  async abort(): Promise<void> {
    this.#decompress.destroy();
    await this.#plain.abort();
  }
}

export class BrotliDiffer implements Differ {
  readonly #unpacker: () => Differ | undefined;

  constructor(unpacker: () => Differ | undefined) {
    this.#unpacker = unpacker;
  }

  async open(layer: ApplyLayer): Promise<LayerSink> {
    if (layer.mediaType !== MEDIA_TYPE) throw unimplemented(`media type "${layer.mediaType}" is not Brotli's`);
    const unpacker = this.#unpacker();
    if (unpacker === undefined) throw unavailable('the differ that unpacks plain archives does not run');
    const { digest, size: _compressed, ...rest } = layer;
    return new BrotliSink(await unpacker.open({ ...rest, mediaType: PLAIN }), digest);
  }

  async compare(): Promise<never> {
    throw unimplemented('layers are not made by this differ');
  }
}
