/** One call to distribution, from the reference to the image record. */
import type { Content } from '../../kernel/contracts/content.js';
import type { PulledImage, PullOptions, UnpackedImage } from '../../kernel/contracts/distribution.js';
import type { Image, Images } from '../../kernel/contracts/images.js';
import type { Descriptor, Platform } from '../../kernel/contracts/scope.js';
import { hasCode } from '../../kernel/errors.js';
import { suitability } from '../../lib/oci/platform.js';
import type { Blobs } from './blobs.js';
import type { Documents } from './documents.js';
import { together } from './group.js';
import type { Job } from './job.js';
import { snapshotReference, withoutLayers } from './labels.js';
import { type FoundManifest, ImageTree, type TreeOptions } from './tree.js';
import type { Unpacker } from './unpack.js';

export interface PullServices {
  readonly content: Content;
  readonly images: Images;
  readonly documents: Documents;
  readonly blobs: Blobs;
  readonly unpacker: Unpacker;
}

/** An unpack target with its defaults filled in. */
export interface ResolvedTarget {
  readonly platform: Platform;
  readonly snapshotter: string;
}

export interface PullPlan extends TreeOptions {
  readonly unpack: readonly ResolvedTarget[];
}

export class Pull {
  readonly #services: PullServices;
  readonly #job: Job;
  readonly #plan: PullPlan;

  constructor(services: PullServices, job: Job, plan: PullPlan) {
    this.#services = services;
    this.#job = job;
    this.#plan = plan;
  }

  /** Brings everything the descriptor leads to into content, and unpacks what the plan says. */
  async fetch(root: Descriptor, signal: AbortSignal): Promise<readonly UnpackedImage[]> {
    const manifests = await new ImageTree(this.#services.documents, this.#job, this.#plan).fetch(root, signal);
    const wanted = manifests.filter((found) => found.wanted);
    for (const { descriptor, manifest } of wanted) {
      for (const layer of manifest.layers) this.#job.board.add(layer, descriptor);
    }
    const unpacked = await together(
      signal,
      wanted.map((found) => (either) => this.#fetchLayers(found, either)),
    );
    return unpacked.flat();
  }

  async #fetchLayers(found: FoundManifest, signal: AbortSignal): Promise<readonly UnpackedImage[]> {
    const { config } = found;
    const targets = config
      ? this.#plan.unpack.filter(({ platform }) => suitability(platform, config) !== undefined)
      : [];
    if (!config || targets.length === 0) {
      await together(
        signal,
        found.manifest.layers.map((layer) => (either) => this.#services.blobs.fetch(this.#job, layer, either)),
      );
      return [];
    }
    return together(
      signal,
      targets.map(
        ({ snapshotter }) =>
          (either) =>
            this.#unpack(found, config.diffIds, snapshotter, either),
      ),
    );
  }

  async #unpack(
    { descriptor, manifest }: FoundManifest,
    diffIds: readonly string[],
    snapshotter: string,
    signal: AbortSignal,
  ): Promise<UnpackedImage> {
    const { unpacker, documents } = this.#services;
    const chainId = await unpacker.unpack(this.#job, { snapshotter, layers: manifest.layers, diffIds }, signal);
    if (chainId !== '')
      await documents.label(this.#job, manifest.config, { [snapshotReference(snapshotter)]: chainId });
    if (unpacker.discards) await documents.label(this.#job, descriptor, withoutLayers(manifest));
    return { manifest: descriptor, snapshotter, chainId };
  }

  /** Writes the image records, the last thing a pull does. */
  async record(
    target: Descriptor,
    names: readonly string[],
    options: Pick<PullOptions, 'labels'>,
    unpacked: readonly UnpackedImage[],
  ): Promise<PulledImage> {
    const images: Image[] = [];
    for (const name of names) {
      images.push(await this.#put(name, target, options));
      this.#job.board.saved(name, target);
    }
    return { images, unpacked };
  }

  async #put(
    name: string,
    { mediaType, digest, size }: Descriptor,
    { labels }: Pick<PullOptions, 'labels'>,
  ): Promise<Image> {
    const { images } = this.#services;
    const target = { mediaType, digest, size };
    const image = { name, target, ...(labels === undefined ? {} : { labels }) };
    for (;;) {
      try {
        return await images.create(this.#job.scope, image);
      } catch (error) {
        if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      }
      try {
        return await images.update(this.#job.scope, image);
      } catch (error) {
        // Deleted between the two: it can be created now.
        if (!hasCode(error, 'NOT_FOUND')) throw error;
      }
    }
  }
}
