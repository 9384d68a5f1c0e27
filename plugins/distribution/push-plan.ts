/** What belongs to an image that is to be pushed, in the order in which a registry takes it. */
import type { Content } from '../../kernel/contracts/content.js';
import type { Descriptor, Platform, Scope } from '../../kernel/contracts/scope.js';
import { hasCode, invalidArgument, notFound, resourceExhausted } from '../../kernel/errors.js';
import { parseManifest } from '../../lib/oci/documents.js';
import { isForeignLayer, isIndex, isManifest } from '../../lib/oci/media-types.js';
import { formatPlatform, suitability } from '../../lib/oci/platform.js';
import { notHere, readDocument } from './stored.js';

/** Manifests and indexes of one image. */
const MAX_DOCUMENTS = 1024;
const MAX_DEPTH = 8;

export interface PlannedDocument {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
  /** What it refers to. */
  readonly children: readonly Descriptor[];
}

export interface PushPlan {
  /** Manifests and indexes, each after everything it refers to; the last one is the root. */
  readonly documents: readonly PlannedDocument[];
  /** Configurations and layers, each once. */
  readonly blobs: readonly Descriptor[];
}

export interface PlanOptions {
  /** `all`: whatever the root refers to. */
  readonly platforms: readonly Platform[] | 'all';
  /** Bytes of one document. */
  readonly maxDocument: number;
}

class Planner {
  readonly #content: Content;
  readonly #scope: Scope;
  readonly #options: PlanOptions;
  readonly #documents = new Map<string, PlannedDocument>();
  readonly #blobs = new Map<string, Descriptor>();

  constructor(content: Content, scope: Scope, options: PlanOptions) {
    this.#content = content;
    this.#scope = scope;
    this.#options = options;
  }

  async plan(root: Descriptor): Promise<PushPlan> {
    await this.#visit(await this.#effectiveRoot(root), 0);
    return { documents: [...this.#documents.values()], blobs: [...this.#blobs.values()] };
  }

  /** An index of which one manifest alone is wanted is not pushed: registries refuse indexes with holes. */
  async #effectiveRoot(root: Descriptor): Promise<Descriptor> {
    if (!isIndex(root.mediaType) || this.#options.platforms === 'all') return root;
    const document = parseManifest(root, await this.#read(root));
    const wanted = 'manifests' in document ? this.#choose(root, document.manifests) : [];
    const [only] = wanted;
    return only && wanted.length === 1 ? { ...only } : root;
  }

  #choose(index: Descriptor, entries: readonly Descriptor[]): readonly Descriptor[] {
    const { platforms } = this.#options;
    if (platforms === 'all') return entries;
    const wanted = entries.filter(
      ({ platform }) => platform && platforms.some((one) => suitability(one, platform) === 0),
    );
    if (wanted.length > 0) return wanted;
    throw notFound(`index "${index.digest}" has no image for ${platforms.map(formatPlatform).join(', ')}`);
  }

  async #visit(descriptor: Descriptor, depth: number): Promise<void> {
    if (this.#documents.has(descriptor.digest)) return;
    if (depth > MAX_DEPTH) throw invalidArgument(`index "${descriptor.digest}" is nested too deep`);
    if (this.#documents.size >= MAX_DOCUMENTS)
      throw invalidArgument(`the image has more than ${MAX_DOCUMENTS} manifests`);
    const bytes = await this.#read(descriptor);
    const document = parseManifest(descriptor, bytes);
    const children =
      'manifests' in document ? this.#choose(descriptor, document.manifests) : [document.config, ...document.layers];
    for (const child of children) {
      if (isIndex(child.mediaType) || isManifest(child.mediaType)) await this.#visit(child, depth + 1);
      else await this.#addBlob(child);
    }
    this.#documents.set(descriptor.digest, { descriptor, bytes, children });
  }

  async #addBlob(descriptor: Descriptor): Promise<void> {
    try {
      const { size } = await this.#content.info(this.#scope, descriptor.digest);
      if (size !== descriptor.size) {
        throw invalidArgument(`content "${descriptor.digest}" has ${size} bytes, its manifest says ${descriptor.size}`);
      }
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      // Such a layer is fetched from where its manifest says, and may not be given away.
      if (isForeignLayer(descriptor.mediaType)) return;
      throw notHere(descriptor, error);
    }
    this.#blobs.set(descriptor.digest, descriptor);
  }

  async #read(descriptor: Descriptor): Promise<Buffer> {
    if (descriptor.size > this.#options.maxDocument) {
      throw resourceExhausted(`document "${descriptor.digest}" has ${descriptor.size} bytes, which is too much`);
    }
    try {
      return await readDocument(this.#content, this.#scope, descriptor);
    } catch (error) {
      throw hasCode(error, 'NOT_FOUND') ? notHere(descriptor, error) : error;
    }
  }
}

/** NOT_FOUND, naming the platform, when something that is to be pushed is not in content. */
export const planPush = (content: Content, scope: Scope, root: Descriptor, options: PlanOptions): Promise<PushPlan> =>
  new Planner(content, scope, options).plan(root);
