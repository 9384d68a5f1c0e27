/**
 * Walks from the descriptor a reference names down to the manifests that are
 * wanted, fetching the documents on the way.
 */
import type { Descriptor, Platform } from '../../kernel/contracts/scope.js';
import { invalidArgument, notFound } from '../../kernel/errors.js';
import { type ImageConfig, type ImageManifest, parseConfig, parseManifest } from '../../lib/oci/documents.js';
import { isImageConfig, isIndex, isManifest, isSchema1 } from '../../lib/oci/media-types.js';
import { formatPlatform, suitability } from '../../lib/oci/platform.js';
import type { Documents } from './documents.js';
import { together } from './group.js';
import type { Job } from './job.js';
import { childLabels } from './labels.js';

/** An index within an index within ...; real ones have two levels. */
const MAX_DEPTH = 8;
/** Manifests and indexes of one image. */
const MAX_DOCUMENTS = 1024;

/** A manifest that was fetched with its configuration. */
export interface FoundManifest {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  /** Undefined when the configuration is not that of an image made of layers: an artifact. */
  readonly config: ImageConfig | undefined;
  /** False when only its metadata is wanted. */
  readonly wanted: boolean;
}

export interface TreeOptions {
  readonly platforms: readonly Platform[] | 'all';
  /** Manifests of the other platforms too, without their layers. */
  readonly allMetadata: boolean;
}

interface Visit {
  readonly descriptor: Descriptor;
  readonly depth: number;
  readonly wanted: boolean;
}

export class ImageTree {
  readonly #documents: Documents;
  readonly #job: Job;
  readonly #options: TreeOptions;
  readonly #seen = new Map<string, Visit>();

  constructor(documents: Documents, job: Job, options: TreeOptions) {
    this.#documents = documents;
    this.#job = job;
    this.#options = options;
  }

  /** INVALID_ARGUMENT for documents that contradict themselves or nest without end; NOT_FOUND when nothing suits the platforms. */
  async fetch(root: Descriptor, signal: AbortSignal): Promise<readonly FoundManifest[]> {
    this.#job.board.add(root);
    return this.#visit({ descriptor: root, depth: 0, wanted: true }, signal);
  }

  async #visit(visit: Visit, signal: AbortSignal): Promise<readonly FoundManifest[]> {
    const { descriptor, depth } = visit;
    if (this.#seen.has(descriptor.digest)) return [];
    this.#seen.set(descriptor.digest, visit);
    if (depth > MAX_DEPTH)
      throw invalidArgument(`index "${descriptor.digest}" is nested more than ${MAX_DEPTH} levels deep`);
    if (this.#seen.size > MAX_DOCUMENTS) {
      throw invalidArgument(`the image has more than ${MAX_DOCUMENTS} manifests`);
    }
    const bytes = await this.#documents.fetch(this.#job, descriptor, signal);
    const document = parseManifest(descriptor, bytes);
    return 'manifests' in document
      ? this.#visitIndex(visit, document.manifests, signal)
      : this.#visitManifest(visit, document, signal);
  }

  async #visitIndex(
    visit: Visit,
    children: readonly Descriptor[],
    signal: AbortSignal,
  ): Promise<readonly FoundManifest[]> {
    const { descriptor, depth } = visit;
    const entries = children.filter(
      ({ mediaType }) => isIndex(mediaType) || isManifest(mediaType) || isSchema1(mediaType),
    );
    const wanted = visit.wanted ? this.#choose(descriptor, entries) : new Set<Descriptor>();
    await this.#documents.label(this.#job, descriptor, childLabels(children));
    const visited = entries.filter((child) => wanted.has(child) || this.#options.allMetadata);
    // The wanted ones first: what is reached twice must not count as metadata only.
    visited.sort((a, b) => Number(wanted.has(b)) - Number(wanted.has(a)));
    for (const child of visited) this.#job.board.add(child, descriptor);
    const found = await together(
      signal,
      visited.map(
        (child) => (either) => this.#visit({ descriptor: child, depth: depth + 1, wanted: wanted.has(child) }, either),
      ),
    );
    return found.flat();
  }

  /** For each platform the entry that suits it best; entries that name no platform are always wanted. */
  #choose(index: Descriptor, entries: readonly Descriptor[]): ReadonlySet<Descriptor> {
    const { platforms } = this.#options;
    if (platforms === 'all') return new Set(entries);
    const chosen = new Set(entries.filter(({ platform }) => !platform));
    for (const platform of platforms) {
      const best = bestFor(platform, entries);
      if (best) chosen.add(best);
    }
    if (chosen.size > 0) return chosen;
    const offered = [...new Set(entries.map(({ platform }) => (platform ? formatPlatform(platform) : '')))];
    throw notFound(
      `index "${index.digest}" has no image for ${platforms.map(formatPlatform).join(', ')}, only for ${offered.slice(0, 20).join(', ')}`,
    );
  }

  async #visitManifest(
    { descriptor, wanted }: Visit,
    manifest: ImageManifest,
    signal: AbortSignal,
  ): Promise<readonly FoundManifest[]> {
    const { config, layers } = manifest;
    await this.#documents.label(this.#job, descriptor, childLabels([config, ...layers]));
    this.#job.board.add(config, descriptor);
    const bytes = await this.#documents.fetch(this.#job, config, signal);
    await this.#documents.label(this.#job, config, {});
    const parsed = isImageConfig(config.mediaType) ? parseConfig(config, bytes) : undefined;
    if (parsed && parsed.diffIds.length !== layers.length) {
      throw invalidArgument(
        `manifest "${descriptor.digest}" has ${layers.length} layers, its configuration names ${parsed.diffIds.length}`,
      );
    }
    return [{ descriptor, manifest, config: parsed, wanted }];
  }
}

function bestFor(platform: Platform, entries: readonly Descriptor[]): Descriptor | undefined {
  let best: Descriptor | undefined;
  let bestRank = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    const rank = entry.platform ? suitability(platform, entry.platform) : undefined;
    if (rank === undefined || rank >= bestRank) continue;
    best = entry;
    bestRank = rank;
  }
  return best;
}
