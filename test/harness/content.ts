/** Content in memory, one namespace: for tests of what only needs some content. */
import type {
  BlobReader,
  CommitContent,
  Content,
  ContentInfo,
  ContentWriter,
  IngestStatus,
} from '../../kernel/contracts/content.js';
import type { Labels, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import { alreadyExists, failedPrecondition, notFound } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';

interface Blob {
  readonly bytes: Buffer;
  labels: Labels;
}

export class MemoryContent implements Content {
  readonly blobs = new Map<string, Blob>();
  readonly ingests = new Map<string, Buffer>();

  /** Puts a blob; returns its digest. */
  put(bytes: Buffer, labels: Labels = {}): string {
    const digest = digestOf(bytes);
    this.blobs.set(digest, { bytes, labels });
    return digest;
  }

  async info(_scope: Scope, digest: string): Promise<ContentInfo> {
    const { bytes, labels } = this.#blob(digest);
    return { digest, size: bytes.length, labels, createdAt: 0n, updatedAt: 0n };
  }

  async update(scope: Scope, digest: string, labels: Labels, mask: UpdateMask = []): Promise<ContentInfo> {
    const blob = this.#blob(digest);
    const keys = mask.map((path) => path.slice('labels.'.length));
    blob.labels = { ...blob.labels, ...Object.fromEntries(keys.map((key) => [key, labels[key] ?? ''])) };
    return this.info(scope, digest);
  }

  async *walk(scope: Scope): AsyncIterable<ContentInfo> {
    for (const digest of this.blobs.keys()) yield this.info(scope, digest);
  }

  async reader(_scope: Scope, digest: string): Promise<BlobReader> {
    const { bytes } = this.#blob(digest);
    return {
      size: bytes.length,
      read: async (target, offset) => bytes.subarray(offset, offset + target.length).copy(target),
      close: async () => {},
    };
  }

  async verify(_scope: Scope, digest: string): Promise<boolean> {
    return digestOf(this.#blob(digest).bytes) === digest;
  }

  async writer(_scope: Scope, { ref }: { readonly ref: string }): Promise<ContentWriter> {
    let bytes = this.ingests.get(ref) ?? Buffer.alloc(0);
    const keep = (next: Buffer): void => {
      bytes = next;
      this.ingests.set(ref, next);
    };
    keep(bytes);
    return {
      status: () => this.#status(ref),
      digest: () => digestOf(bytes),
      write: async (chunk) => keep(Buffer.concat([bytes, chunk])),
      truncate: async (size) => keep(bytes.subarray(0, size)),
      commit: (expectation) => this.#commit(ref, bytes, expectation),
      close: async () => {},
    };
  }

  async delete(_scope: Scope, digest: string): Promise<void> {
    this.#blob(digest);
    this.blobs.delete(digest);
  }

  async status(_scope: Scope, ref: string): Promise<IngestStatus> {
    if (!this.ingests.has(ref)) throw notFound(`ingest "${ref}"`);
    return this.#status(ref);
  }

  async statuses(): Promise<readonly IngestStatus[]> {
    return [...this.ingests.keys()].map((ref) => this.#status(ref));
  }

  async abort(_scope: Scope, ref: string): Promise<void> {
    if (!this.ingests.delete(ref)) throw notFound(`ingest "${ref}"`);
  }

  #blob(digest: string): Blob {
    const blob = this.blobs.get(digest);
    if (!blob) throw notFound(`content "${digest}"`);
    return blob;
  }

  #status(ref: string): IngestStatus {
    const offset = this.ingests.get(ref)?.length ?? 0;
    return { ref, offset, total: 0, expected: '', startedAt: 0n, updatedAt: 0n };
  }

  async #commit(ref: string, bytes: Buffer, { expected, labels = {} }: CommitContent): Promise<ContentInfo> {
    const digest = digestOf(bytes);
    if (expected !== undefined && expected !== digest) throw failedPrecondition(`ingest "${ref}": digest "${digest}"`);
    this.ingests.delete(ref);
    if (this.blobs.has(digest)) throw alreadyExists(`content "${digest}"`);
    this.put(bytes, labels);
    return this.info({ namespace: 'test' }, digest);
  }
}
