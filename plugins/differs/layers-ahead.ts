/**
 * Clients apply the layers of an image one after the other. While one is applied, those on top of it are unpacked
 * beside it; when their turn comes, what is there is moved into place.
 */
import { readdirSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import type { Logger } from 'pino';
import type { Content } from '../../kernel/contracts/content.js';
import type { AppliedLayer, ApplyBlob } from '../../kernel/contracts/diff.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { removeTree } from '../../lib/tree/jobs.js';
import { type DetachedApply, LayerAhead, preparedOverlay } from './layer-ahead.js';
import { layersAbove } from './manifest-layers.js';

export interface AheadOptions {
  readonly content: Content;
  /** Directories for what is being unpacked, each of another snapshotter. */
  readonly staging: () => readonly string[];
  /** Layers that may be on their way before their turn, for all clients together; none: nothing is done. */
  readonly most: number;
  /** Milliseconds that layers are kept once nobody applies any. */
  readonly patience: number;
  /** Whether a layer of that media type can be unpacked knowing nothing but its bytes. */
  readonly suits: (mediaType: string) => boolean;
  readonly unpack: (scope: Scope, blob: Descriptor, layer: DetachedApply) => Promise<AppliedLayer>;
  readonly log: Logger;
}

interface Known {
  readonly layer: LayerAhead;
  readonly mediaType: string;
  /** Lowest first. */
  readonly above: readonly Descriptor[];
}

const keyOf = ({ namespace }: Scope, { digest }: Descriptor): string => `${namespace} ${digest}`;

/** The directory that a client wants a layer in; undefined when there is no single one. */
function directoryOf(mounts: readonly Mount[]): string | undefined {
  const [mount] = mounts;
  return mount?.type === 'bind' && mounts.length === 1 ? mount.source : preparedOverlay(mounts)?.upper;
}

export class LayersAhead {
  readonly #options: AheadOptions;
  readonly #known = new Map<string, Known>();
  /** Of each staging directory: settles once nothing is left there of former runs. */
  readonly #cleared = new Map<string, Promise<void>>();
  /** What goes on beside the calls. */
  readonly #background = new Set<Promise<void>>();
  /** Applies under way. */
  #applying = 0;
  #idle: NodeJS.Timeout | undefined;
  #last = 0;
  #isClosed = false;

  constructor(options: AheadOptions) {
    this.#options = options;
    for (const directory of options.staging()) void this.#clear(directory);
  }

  /** The layer in its turn: what is there of it already, or what `apply` makes. */
  async apply(
    scope: Scope,
    blob: Descriptor,
    layer: ApplyBlob,
    apply: () => Promise<AppliedLayer>,
  ): Promise<AppliedLayer> {
    clearTimeout(this.#idle);
    this.#applying += 1;
    const known = this.#take(scope, blob);
    this.#beside(this.#follow(scope, blob, layer.mounts, known?.above));
    try {
      return (await known?.layer.moveTo(layer)) ?? (await apply());
    } finally {
      if (known) this.#beside(known.layer.drop());
      this.#applying -= 1;
      if (this.#applying === 0) this.#waitForNext();
    }
  }

  /** Ends and deletes all. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#idle);
    this.#dropAll();
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  #take(scope: Scope, blob: Descriptor): Known | undefined {
    const key = keyOf(scope, blob);
    const known = this.#known.get(key);
    if (known?.mediaType !== blob.mediaType) return undefined;
    this.#known.delete(key);
    return known;
  }

  /** Begins with the layers above the one applied; `above` when they are known. */
  async #follow(
    { namespace }: Scope,
    blob: Descriptor,
    mounts: readonly Mount[],
    above?: readonly Descriptor[],
  ): Promise<void> {
    const staging = this.#stagingFor(mounts);
    if (staging === undefined) return;
    await this.#clear(staging);
    const layers = above ?? (await layersAbove(this.#options.content, namespace, blob.digest));
    // The client may be further already.
    if (this.#applying === 0) return;
    for (const [index, layer] of layers.entries()) this.#begin({ namespace }, layer, layers.slice(index + 1), staging);
  }

  #begin(scope: Scope, blob: Descriptor, above: readonly Descriptor[], staging: string): void {
    const { most, suits, unpack } = this.#options;
    const key = keyOf(scope, blob);
    if (this.#isClosed || this.#known.size >= most || this.#known.has(key) || !suits(blob.mediaType)) return;
    this.#last += 1;
    const layer = new LayerAhead(join(staging, String(this.#last)), (how) => unpack(scope, blob, how));
    this.#known.set(key, { layer, mediaType: blob.mediaType, above });
  }

  /** The one of the snapshotter that made the mounts. */
  #stagingFor(mounts: readonly Mount[]): string | undefined {
    const directory = directoryOf(mounts);
    return this.#options.staging().find((staging) => directory?.startsWith(dirname(staging) + sep));
  }

  #clear(staging: string): Promise<void> {
    const cleared = this.#cleared.get(staging) ?? clearDirectory(staging);
    this.#cleared.set(staging, cleared);
    cleared.catch((error: unknown) => this.#warn(error));
    return cleared;
  }

  #waitForNext(): void {
    this.#idle = setTimeout(() => this.#dropAll(), this.#options.patience).unref();
  }

  #dropAll(): void {
    for (const { layer } of this.#known.values()) this.#beside(layer.drop());
    this.#known.clear();
  }

  /** Lets it go on by itself. */
  #beside(work: Promise<void>): void {
    const tracked = work.catch((error: unknown) => this.#warn(error)).finally(() => this.#background.delete(tracked));
    this.#background.add(tracked);
  }

  #warn(error: unknown): void {
    this.#options.log.warn({ err: error }, 'layers could not be unpacked, or cleared away, ahead of their turn');
  }
}

async function clearDirectory(directory: string): Promise<void> {
  for (const name of readdirSync(directory)) await removeTree(join(directory, name), true);
}
