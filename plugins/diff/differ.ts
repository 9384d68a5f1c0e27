/** The differ `walking`: unpacks layers in worker threads, and makes layers out of the difference of two trees. */
import type { ApplyLayer, CompareTrees, Differ, LayerSink } from '../../kernel/contracts/diff.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { LayerComparer } from './compare/compare.js';
import { compressionOf } from './media-types.js';
import type { WorkerPool } from './pool.js';
import { detachedTarget, directTarget, holdMounts } from './target.js';
import type { LayerLimits } from './unpack/layer.js';
import type { Target } from './unpack/target.js';

export interface WalkingOptions {
  readonly pool: WorkerPool;
  readonly comparer: LayerComparer;
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
    const { digest, size, signal, sync = false } = layer;
    return await this.#options.pool.open({
      job: { target, compression, limits: this.#options.limits, sync, ...(digest === undefined ? {} : { digest }) },
      release,
      ...(size === undefined ? {} : { size }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  compare(scope: Scope, trees: CompareTrees): Promise<Descriptor> {
    return this.#options.comparer.compare(scope, trees);
  }

  async #target({ mounts, detached }: ApplyLayer): Promise<OpenTarget> {
    const direct = detached ? detachedTarget(mounts) : directTarget(mounts);
    if (direct) return { target: direct, release: async () => {} };
    const held = await holdMounts(mounts, this.#options.mountDirectory);
    return { target: { root: held.root, form: 'plain', xattrs: 'trusted' }, release: () => held.release() };
  }
}
