/** A layer that is unpacked before its turn: without the layers below it, beside the snapshot that it is to become. */
import { mkdirSync } from 'node:fs';
import type { AppliedLayer, ApplyBlob, ApplyLayer } from '../../kernel/contracts/diff.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { canceled } from '../../kernel/errors.js';
import { type OverlayDirectories, overlayDirectories, overlayLowers } from '../../lib/linux/overlay.js';
import { removeTree } from '../../lib/tree/jobs.js';
import { moveContents } from './move-contents.js';

/** How a layer is unpacked whose turn has not come. */
export type DetachedApply = Pick<ApplyLayer, 'mounts' | 'detached' | 'parents' | 'signal'>;

/** The directories of an overlay that a client prepared; undefined when that is not what the mounts are. */
export function preparedOverlay(mounts: readonly Mount[]): OverlayDirectories | undefined {
  const [mount] = mounts;
  if (mount?.type !== 'overlay' || mounts.length !== 1 || mount.target !== '') return undefined;
  // Attributes of the overlay are written for the usual kind only.
  return mount.options.includes('ro') || mount.options.includes('userxattr')
    ? undefined
    : overlayDirectories(mount.options);
}

const showing = (lowers: readonly string[]): Mount => ({
  type: 'overlay',
  source: 'overlay',
  target: '',
  options: [`lowerdir=${overlayLowers(lowers)}`],
});

export class LayerAhead {
  readonly #root: string;
  readonly #stop = new AbortController();
  readonly #parents = Promise.withResolvers<readonly Mount[]>();
  /** Undefined when it went wrong: unpacked in its turn, it will again, and say so then. */
  readonly #applied: Promise<AppliedLayer | undefined>;

  /** `root`: a directory that does not exist, and that goes with `drop`. */
  constructor(root: string, unpack: (layer: DetachedApply) => Promise<AppliedLayer>) {
    this.#root = root;
    this.#parents.promise.catch(() => {}); // most layers never ask
    this.#applied = this.#unpack(unpack).catch(() => undefined);
  }

  /**
   * Moves what was unpacked to where `mounts` want the layer. Undefined, with nothing changed there, when it does not
   * fit there or was not to be had.
   */
  async moveTo({ mounts, signal }: Pick<ApplyBlob, 'mounts' | 'signal'>): Promise<AppliedLayer | undefined> {
    const overlay = preparedOverlay(mounts);
    if (overlay?.upper === undefined) return undefined;
    this.#parents.resolve([showing(overlay.lowers)]);
    const stop = (): void => this.#stop.abort();
    signal?.addEventListener('abort', stop, { once: true });
    const applied = await this.#applied;
    signal?.removeEventListener('abort', stop);
    const isWanted = applied !== undefined && !applied.unresolved && signal?.aborted !== true;
    return isWanted && moveContents(this.#root, overlay.upper) ? applied : undefined;
  }

  /** Ends it and deletes what is left of it. */
  async drop(): Promise<void> {
    this.#stop.abort();
    this.#parents.reject(canceled('nobody wants the layer any more'));
    await this.#applied;
    await removeTree(this.#root, true);
  }

  async #unpack(unpack: (layer: DetachedApply) => Promise<AppliedLayer>): Promise<AppliedLayer> {
    mkdirSync(this.#root, 0o755);
    const mounts = [{ type: 'bind', source: this.#root, target: '', options: ['rw', 'rbind'] }];
    return unpack({ mounts, detached: true, parents: () => this.#parents.promise, signal: this.#stop.signal });
  }
}
