/** The Diff service: asks the differs in order until one does not say that the matter is not its own. */

import type { BlobReader, Content } from '../../kernel/contracts/content.js';
import type {
  AppliedLayer,
  ApplyBlob,
  ApplyLayer,
  CompareTrees,
  Diff,
  Differ,
  LayerSink,
} from '../../kernel/contracts/diff.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { dataLoss, hasCode, notFound, unimplemented } from '../../kernel/errors.js';
import { OCI_LAYER } from '../../lib/oci/media-types.js';
import type { DetachedApply } from './layer-ahead.js';
import { type AheadOptions, LayersAhead } from './layers-ahead.js';
import type { StreamProcessors } from './stream-processors.js';

export interface OrderedOptions {
  readonly content: Content;
  /** By wire id. */
  readonly differs: ReadonlyMap<string, Differ>;
  /** Wire ids; those not loaded are NOT_FOUND when their turn comes. */
  readonly order: readonly string[];
  /** Flush every layer to disk, whether asked to or not. */
  readonly sync: boolean;
  readonly processors: StreamProcessors;
  /** How layers are unpacked ahead of their turn; those that are flushed never are. */
  readonly ahead: Pick<AheadOptions, 'staging' | 'most' | 'patience' | 'log'>;
}

/** As much as a layer's worker is handed at a time. */
const PIECE = 256 << 10;

export class OrderedDiff implements Diff {
  readonly #options: OrderedOptions;
  readonly #ahead: LayersAhead;

  constructor(options: OrderedOptions) {
    this.#options = options;
    const { content, processors, ahead } = options;
    this.#ahead = new LayersAhead({
      ...ahead,
      content,
      suits: (mediaType) => !processors.takes(mediaType),
      unpack: (scope, blob, layer) => this.#unpack(scope, blob, layer),
    });
  }

  open(layer: ApplyLayer): Promise<LayerSink> {
    const sync = layer.sync || this.#options.sync;
    return this.#options.processors.open({ ...layer, sync }, (processed) =>
      this.#first((differ) => differ.open(processed)),
    );
  }

  async apply(scope: Scope, blob: Descriptor, layer: ApplyBlob): Promise<Descriptor> {
    const unpack = (): Promise<AppliedLayer> => this.#unpack(scope, blob, layer);
    const isFlushed = layer.sync || this.#options.sync;
    const { diffId, size } = isFlushed ? await unpack() : await this.#ahead.apply(scope, blob, layer, unpack);
    return { mediaType: OCI_LAYER, digest: diffId, size };
  }

  /** Ends what goes on beside the calls. */
  close(): Promise<void> {
    return this.#ahead.close();
  }

  async #unpack(scope: Scope, blob: Descriptor, how: ApplyBlob | DetachedApply): Promise<AppliedLayer> {
    const reader = await this.#reader(scope, blob);
    try {
      const { digest, mediaType } = blob;
      const sink = await this.open({ ...how, mediaType, digest, size: reader.size });
      try {
        await copy(reader, sink, blob);
        return await sink.end();
      } finally {
        await sink.abort();
      }
    } finally {
      await reader.close();
    }
  }

  async #reader(scope: Scope, { digest }: Descriptor): Promise<BlobReader> {
    try {
      return await this.#options.content.reader(scope, digest);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      const remedy = 'fetch it: it never was, or it was discarded once it was unpacked elsewhere';
      throw notFound(`layer "${digest}" is not in content and cannot be unpacked`, { cause: error, remedy });
    }
  }

  compare(scope: Scope, trees: CompareTrees): Promise<Descriptor> {
    return this.#first((differ) => differ.compare(scope, trees));
  }

  async #first<T>(ask: (differ: Differ) => Promise<T>): Promise<T> {
    let refusal: unknown = unimplemented('no differ is configured');
    for (const id of this.#options.order) {
      const differ = this.#options.differs.get(id);
      if (!differ) throw notFound(`differ "${id}" is not loaded`, { remedy: 'correct the configured order' });
      try {
        return await ask(differ);
      } catch (error) {
        if (!hasCode(error, 'UNIMPLEMENTED')) throw error;
        refusal = error;
      }
    }
    throw refusal;
  }
}

/** Passes the blob on, the next piece being read while the sink takes the last one. */
async function copy(reader: BlobReader, sink: LayerSink, { digest }: Descriptor): Promise<void> {
  const buffers = [new Uint8Array(PIECE), new Uint8Array(PIECE)];
  let written: Promise<void> = Promise.resolve();
  let at = 0;
  for (let turn = 0; at < reader.size; turn++) {
    const buffer = buffers[turn % 2] ?? new Uint8Array(PIECE);
    const [length] = await Promise.all([reader.read(buffer, at), written]);
    if (length === 0) throw dataLoss(`content "${digest}" ends after ${at} of ${reader.size} bytes`);
    written = sink.write(buffer.subarray(0, length));
    at += length;
  }
  await written;
}
