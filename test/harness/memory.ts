/**
 * In-memory services behind the contracts that a pull meets, with everything
 * they hold open to inspection. They keep the contracts' promises on errors;
 * they know one namespace and collect nothing.
 */
import type { Content, ContentInfo, ContentWriter, IngestStatus, OpenWriter } from '../../kernel/contracts/content.js';
import type { Image, Images, NewImage } from '../../kernel/contracts/images.js';
import type { Lease, LeaseResource, Leases } from '../../kernel/contracts/leases.js';
import type { Namespace, Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Labels, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import {
  aborted,
  alreadyExists,
  failedPrecondition,
  invalidArgument,
  notFound,
  unavailable,
  unimplemented,
} from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { applyMapMask, updateLabels, withoutEmpty } from '../../lib/labels.js';

export const unused = async (): Promise<never> => {
  throw unimplemented('not needed in memory');
};

export const present = <T>(value: T | undefined, what: string): T => {
  if (value === undefined) throw notFound(`${what} is not here`);
  return value;
};

interface MemoryBlob {
  readonly bytes: Buffer;
  labels: Labels;
}

interface MemoryIngest {
  readonly options: OpenWriter;
  bytes: Buffer;
  open: boolean;
}

export class MemoryContent implements Content {
  readonly blobs = new Map<string, MemoryBlob>();
  readonly ingests = new Map<string, MemoryIngest>();
  readonly #leases: MemoryLeases;

  constructor(leases: MemoryLeases) {
    this.#leases = leases;
  }

  async info(_scope: Scope, digest: string): Promise<ContentInfo> {
    const { bytes, labels } = present(this.blobs.get(digest), digest);
    return { digest, size: bytes.length, labels, createdAt: 0n, updatedAt: 0n };
  }

  async update(scope: Scope, digest: string, labels: Labels, mask?: readonly string[]): Promise<ContentInfo> {
    const blob = present(this.blobs.get(digest), digest);
    blob.labels = updateLabels(digest, blob.labels, labels, mask);
    return this.info(scope, digest);
  }

  async *walk(scope: Scope): AsyncIterable<ContentInfo> {
    for (const digest of [...this.blobs.keys()].sort()) yield this.info(scope, digest);
  }

  async reader(_scope: Scope, digest: string) {
    const { bytes } = present(this.blobs.get(digest), digest);
    return {
      size: bytes.length,
      read: async (target: Uint8Array, offset: number) => {
        const part = bytes.subarray(offset, offset + target.length);
        target.set(part);
        return part.length;
      },
      close: async () => {},
    };
  }

  async verify(_scope: Scope, digest: string): Promise<boolean> {
    const { bytes } = present(this.blobs.get(digest), digest);
    if (digestOf(bytes) === digest) return true;
    this.blobs.delete(digest);
    return false;
  }

  async writer(scope: Scope, options: OpenWriter): Promise<ContentWriter> {
    if (options.expected !== undefined && this.blobs.has(options.expected)) {
      this.ingests.delete(options.ref);
      this.#leases.touch(scope, { type: 'content', id: options.expected });
      throw alreadyExists(`${options.expected} is here`);
    }
    const ingest = this.ingests.get(options.ref) ?? { options, bytes: Buffer.alloc(0), open: false };
    if (ingest.open) throw unavailable(`ref ${options.ref} locked`);
    ingest.open = true;
    this.ingests.set(options.ref, ingest);
    this.#leases.touch(scope, { type: 'ingests', id: options.ref });
    return this.#writer(scope, options.ref, ingest);
  }

  #writer(scope: Scope, ref: string, ingest: MemoryIngest): ContentWriter {
    return {
      status: () => this.#status(ref, ingest),
      digest: () => digestOf(ingest.bytes),
      write: async (chunk) => {
        ingest.bytes = Buffer.concat([ingest.bytes, chunk]);
      },
      truncate: async (size) => {
        ingest.bytes = ingest.bytes.subarray(0, size);
      },
      commit: async ({ size = 0, expected, labels = {} }) => {
        const digest = digestOf(ingest.bytes);
        if (size > 0 && size !== ingest.bytes.length)
          throw failedPrecondition(`${ref} has ${ingest.bytes.length} bytes`);
        if (expected && expected !== digest) throw failedPrecondition(`${ref} is ${digest}, expected ${expected}`);
        if (this.ingests.get(ref) !== ingest) throw aborted(`${ref} was aborted`);
        this.ingests.delete(ref);
        if (this.blobs.has(digest)) throw alreadyExists(`${digest} is here`);
        this.blobs.set(digest, { bytes: ingest.bytes, labels });
        this.#leases.touch(scope, { type: 'content', id: digest });
        return this.info(scope, digest);
      },
      close: async () => {
        ingest.open = false;
      },
    };
  }

  #status(ref: string, { options, bytes }: MemoryIngest): IngestStatus {
    const { total = 0, expected = '' } = options;
    return { ref, offset: bytes.length, total, expected, startedAt: 0n, updatedAt: 0n };
  }

  async delete(_scope: Scope, digest: string): Promise<void> {
    present(this.blobs.get(digest), digest);
    this.blobs.delete(digest);
  }

  async status(_scope: Scope, ref: string): Promise<IngestStatus> {
    return this.#status(ref, present(this.ingests.get(ref), ref));
  }

  async statuses(): Promise<readonly IngestStatus[]> {
    return [...this.ingests].map(([ref, ingest]) => this.#status(ref, ingest));
  }

  async abort(_scope: Scope, ref: string): Promise<void> {
    present(this.ingests.get(ref), ref);
    this.ingests.delete(ref);
  }
}

export class MemoryLeases implements Leases {
  /** Leases that exist, and what each holds as `type id`. */
  readonly held = new Map<string, Set<string>>();
  /** Everything any lease ever held, per lease. */
  readonly history: Set<string>[] = [];
  readonly #leases = new Map<string, Lease>();
  #next = 0;

  touch({ lease }: Scope, { type, id }: LeaseResource): void {
    if (lease !== undefined) present(this.held.get(lease), `lease ${lease}`).add(`${type} ${id}`);
  }

  async create(_scope: Scope, { id, labels = {} }: { readonly id?: string; readonly labels?: Labels }): Promise<Lease> {
    const name = id || `lease-${this.#next++}`;
    if (this.held.has(name)) throw alreadyExists(`lease ${name} is here`);
    const resources = new Set<string>();
    this.held.set(name, resources);
    this.history.push(resources);
    const lease = { id: name, createdAt: 0n, labels };
    this.#leases.set(name, lease);
    return lease;
  }

  async delete(_scope: Scope, id: string): Promise<void> {
    present(this.held.get(id), `lease ${id}`);
    this.held.delete(id);
    this.#leases.delete(id);
  }

  async list(): Promise<readonly Lease[]> {
    return [...this.#leases.values()];
  }

  async addResource(scope: Scope, lease: string, resource: LeaseResource): Promise<void> {
    this.touch({ ...scope, lease }, resource);
  }

  async deleteResource(_scope: Scope, lease: string, { type, id }: LeaseResource): Promise<void> {
    present(this.held.get(lease), `lease ${lease}`).delete(`${type} ${id}`);
  }

  async resources(_scope: Scope, lease: string): Promise<readonly LeaseResource[]> {
    const words = [...present(this.held.get(lease), `lease ${lease}`)].sort();
    return words.map((word) => ({ type: word.slice(0, word.indexOf(' ')), id: word.slice(word.indexOf(' ') + 1) }));
  }
}

function masked(current: Image, { labels = {}, target }: NewImage, path: string): Image {
  const changed = applyMapMask('labels', path, current.labels, labels);
  if (changed) return { ...current, labels: changed };
  if (path === 'target') return { ...current, target };
  const annotations = applyMapMask('annotations', path, current.target.annotations ?? {}, target.annotations ?? {});
  if (annotations) return { ...current, target: { ...current.target, annotations } };
  throw invalidArgument(`cannot update field "${path}" of ${current.name}`);
}

export class MemoryImages implements Images {
  readonly images = new Map<string, Image>();

  async get(_scope: Scope, name: string): Promise<Image> {
    return present(this.images.get(name), name);
  }

  async list(): Promise<readonly Image[]> {
    return [...this.images.values()];
  }

  async create(_scope: Scope, { name, target, labels = {} }: Parameters<Images['create']>[1]): Promise<Image> {
    if (this.images.has(name)) throw alreadyExists(`${name} is here`);
    const image = { name, target, labels, createdAt: 0n, updatedAt: 0n };
    this.images.set(name, image);
    return image;
  }

  async update(_scope: Scope, image: NewImage, mask: UpdateMask = []): Promise<Image> {
    const current = present(this.images.get(image.name), image.name);
    const paths = mask.length === 0 ? ['labels', 'target'] : mask;
    const updated = paths.reduce((changed, path) => masked(changed, image, path), current);
    this.images.set(image.name, updated);
    return updated;
  }

  async delete(_scope: Scope, name: string): Promise<void> {
    present(this.images.get(name), name);
    this.images.delete(name);
  }
}

/** Namespaces with labels; what is in them is not known here, so that any can be deleted. */
export class MemoryNamespaces implements Namespaces {
  readonly namespaces = new Map<string, Namespace>();

  async get(name: string): Promise<Namespace> {
    return this.namespaces.get(name) ?? { name, labels: {} };
  }

  async list(): Promise<readonly Namespace[]> {
    return [...this.namespaces.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async create(namespace: Namespace): Promise<Namespace> {
    if (this.namespaces.has(namespace.name)) throw alreadyExists(`namespace ${namespace.name} is here`);
    return this.#put(namespace);
  }

  async update({ name, labels }: Namespace, mask: UpdateMask = []): Promise<Namespace> {
    for (const path of mask)
      if (!path.startsWith('labels.')) throw invalidArgument(`cannot update field "${path}" of namespace ${name}`);
    const current = (await this.get(name)).labels;
    return this.#put({ name, labels: mask.length === 0 ? labels : updateLabels(name, current, labels, mask) });
  }

  async delete(name: string): Promise<void> {
    present(this.namespaces.get(name), `namespace ${name}`);
    this.namespaces.delete(name);
  }

  #put({ name, labels }: Namespace): Namespace {
    const namespace = { name, labels: withoutEmpty(labels) };
    this.namespaces.set(name, namespace);
    return namespace;
  }
}

/** All namespaces have those labels, and nothing can be changed: for defaults. */
export const memoryNamespaces = (labels: Labels = {}): Namespaces => ({
  get: async (name) => ({ name, labels }),
  list: async () => [],
  create: unused,
  update: unused,
  delete: unused,
});
