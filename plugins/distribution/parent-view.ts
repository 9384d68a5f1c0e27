import type { Mount, Snapshots } from '../../kernel/contracts/snapshots.js';
import { hasCode } from '../../kernel/errors.js';
import { extractKey } from './job.js';
import type { LayerWork } from './layer.js';

/** A read-only look at the layers below one that is being unpacked, made when it is asked for. */
export class ParentView {
  readonly #snapshots: Snapshots;
  readonly #work: LayerWork;
  readonly #committed: Promise<void>;
  #key: string | undefined;
  #closing: Promise<void> | undefined;

  /** `committed` resolves once the layer below is. */
  constructor(snapshots: Snapshots, work: LayerWork, committed: Promise<void>) {
    this.#snapshots = snapshots;
    this.#work = work;
    this.#committed = committed;
  }

  async mounts(): Promise<readonly Mount[]> {
    await this.#committed;
    const { job, snapshotter, below } = this.#work;
    const chainId = below?.chainId ?? '';
    this.#key = extractKey(chainId);
    return this.#snapshots.view(job.scope, snapshotter, this.#key, chainId, {}, { lasting: false });
  }

  /** To be called when nobody looks any more. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#remove();
    return this.#closing;
  }

  async #remove(): Promise<void> {
    const { job, snapshotter } = this.#work;
    if (this.#key === undefined) return;
    try {
      await this.#snapshots.remove(job.scope, snapshotter, this.#key);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  }
}
