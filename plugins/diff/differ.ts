/** The differ `walking`: unpacks layers in worker threads, and makes layers out of the difference of two trees. */
import type { ApplyLayer, CompareTrees, Differ, LayerSink } from '../../kernel/contracts/diff.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { LayerComparer } from './compare/compare.js';
import { compressionOf } from './media-types.js';
import type { WorkerPool } from './pool.js';
import { detachedTarget, directTarget, holdMounts, layerDirectories } from './target.js';
import type { LayerLimits } from './unpack/layer.js';
import type { Target } from './unpack/target.js';

export interface WalkingOptions {
  readonly pool: WorkerPool;
  readonly comparer: () => Promise<LayerComparer>;
  readonly limits: LayerLimits;
  /** For mounts that cannot be avoided. */
  readonly mountDirectory: string;
}

interface OpenTarget {
  readonly target: Target;
  release(): Promise<void>;
}

export class WalkingDiffer implements Differ {
  readonly #options: WalkingOptions;

  constructor(options: WalkingOptions) {
    this.#options = options;
  }

  async open(layer: ApplyLayer): Promise<LayerSink> {
    const compression = compressionOf(layer.mediaType);
    const { target, release } = await this.#target(layer);
    const { digest, size, signal, parents, sync = false } = layer;
    return await this.#options.pool.open({
      job: { target, compression, limits: this.#options.limits, sync, ...(digest === undefined ? {} : { digest }) },
      release,
      ...(size === undefined ? {} : { size }),
      ...(signal === undefined ? {} : { signal }),
      ...(parents === undefined ? {} : { lowers: async () => layerDirectories(await parents()) }),
    });
  }

  async compare(scope: Scope, trees: CompareTrees): Promise<Descriptor> {
    const comparer = await this.#options.comparer();
    return comparer.compare(scope, trees);
  }

  async #target({ mounts, detached, parents }: ApplyLayer): Promise<OpenTarget> {
    const direct = detached ? detachedTarget(mounts, parents !== undefined) : directTarget(mounts);
    if (direct) return { target: direct, release: async () => {} };
    const held = await holdMounts(mounts, this.#options.mountDirectory);
    return { target: { root: held.root, form: 'plain', xattrs: 'trusted' }, release: () => held.release() };
  }
}
