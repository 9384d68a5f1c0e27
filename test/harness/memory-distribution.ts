/** Distribution to and from a registry that is a map of descriptors; no content moves. */
import type {
  Distribution,
  PulledImage,
  PullOptions,
  PushOptions,
  ResolvedReference,
} from '../../kernel/contracts/distribution.js';
import type { Image, Images } from '../../kernel/contracts/images.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { hasCode, invalidArgument, notFound } from '../../kernel/errors.js';

export class MemoryDistribution implements Distribution {
  /** What each reference names at the registry. */
  readonly registry = new Map<string, Descriptor>();
  /** By digest, the manifests that name it as their subject. */
  readonly subjects = new Map<string, readonly Descriptor[]>();
  readonly #images: Images;

  constructor(images: Images) {
    this.#images = images;
  }

  async resolve(_scope: Scope, reference: string): Promise<ResolvedReference> {
    return { reference, descriptor: this.#named(reference) };
  }

  async fetch(_scope: Scope, reference: string): Promise<Descriptor> {
    return this.#named(reference);
  }

  async pull(scope: Scope, reference: string, options: PullOptions = {}): Promise<PulledImage> {
    const { names = [reference], labels = {}, onProgress } = options;
    const target = this.#named(reference);
    const images = await Promise.all(names.map((name) => this.#record(scope, name, target, labels)));
    const progress = { parents: [], progress: target.size, total: target.size, descriptor: target };
    for (const name of names) onProgress?.({ event: 'saved', name, ...progress });
    return { images, unpacked: [] };
  }

  async push(_scope: Scope, reference: string, target: Descriptor, options: PushOptions = {}): Promise<Descriptor> {
    this.registry.set(reference, target);
    const progress = { parents: [], progress: target.size, total: target.size, descriptor: target };
    options.onProgress?.({ event: 'complete', name: reference, ...progress });
    return target;
  }

  async referrers(_scope: Scope, reference: string): Promise<readonly Descriptor[]> {
    const at = reference.indexOf('@');
    if (at < 0) throw invalidArgument(`"${reference}" names no digest`);
    return this.subjects.get(reference.slice(at + 1)) ?? [];
  }

  #named(reference: string): Descriptor {
    const descriptor = this.registry.get(reference);
    if (descriptor === undefined) throw notFound(`the registry has no "${reference}"`);
    return descriptor;
  }

  async #record(scope: Scope, name: string, target: Descriptor, labels: Image['labels']): Promise<Image> {
    try {
      return await this.#images.create(scope, { name, target, labels });
    } catch (error) {
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      return this.#images.update(scope, { name, target, labels });
    }
  }
}
