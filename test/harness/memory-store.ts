/** A content store in memory that keeps the whole contract, for tests of what stands on one. */
import type {
  BlobInfo,
  BlobReader,
  BlobWriter,
  CommitBlob,
  ContentStore,
  IngestStatus,
  OpenWriter,
} from '../../kernel/contracts/content.js';
import {
  alreadyExists,
  failedPrecondition,
  invalidArgument,
  notFound,
  outOfRange,
  unavailable,
} from '../../kernel/errors.js';
import { CANONICAL, digestOf, parseDigest } from '../../lib/digest.js';
import { now } from '../../lib/rpc/timestamp.js';

interface Blob {
  readonly bytes: Buffer;
  readonly createdAt: bigint;
}

interface Ingest {
  bytes: Buffer;
  total: number;
  expected: string;
  readonly startedAt: bigint;
  updatedAt: bigint;
}

/** Of the kind that the wanted one is. */
const digestLike = (wanted: string, bytes: Buffer): string =>
  digestOf(bytes, wanted === '' ? CANONICAL : parseDigest(wanted).algorithm);

export class MemoryStore implements ContentStore {
  readonly blobs = new Map<string, Blob>();
  readonly ingests = new Map<string, Ingest>();
  /** Refs whose writer is open. */
  readonly #locked = new Set<string>();

  async info(digest: string): Promise<BlobInfo> {
    const { bytes, createdAt } = this.#blob(digest);
    return { digest, size: bytes.length, createdAt, updatedAt: createdAt };
  }

  async *walk(): AsyncIterable<BlobInfo> {
    for (const digest of this.blobs.keys()) yield this.info(digest);
  }

  async reader(digest: string): Promise<BlobReader> {
    const { bytes } = this.#blob(digest);
    return {
      size: bytes.length,
      read: async (target, offset) => bytes.subarray(offset, offset + target.length).copy(target),
      close: async () => {},
    };
  }

  async writer({ ref, total = 0, expected = '' }: OpenWriter): Promise<BlobWriter> {
    if (ref === '') throw invalidArgument('an ingest needs a ref');
    if (!Number.isSafeInteger(total) || total < 0) throw invalidArgument(`ingest "${ref}" cannot have ${total} bytes`);
    if (expected !== '') parseDigest(expected);
    if (this.#locked.has(ref)) throw unavailable(`ingest "${ref}" is being written`);
    if (this.blobs.has(expected)) {
      this.ingests.delete(ref);
      throw alreadyExists(`content "${expected}" already exists`);
    }
    const ingest = this.#resumed(ref, total) ?? {
      bytes: Buffer.alloc(0),
      total,
      expected,
      startedAt: now(),
      updatedAt: now(),
    };
    ingest.expected = expected || ingest.expected;
    ingest.total = total || ingest.total;
    this.ingests.set(ref, ingest);
    this.#locked.add(ref);
    return new MemoryWriter(this, ref, ingest, () => this.#locked.delete(ref));
  }

  async delete(digest: string): Promise<void> {
    this.#blob(digest);
    this.blobs.delete(digest);
  }

  async status(ref: string): Promise<IngestStatus> {
    const ingest = this.ingests.get(ref);
    if (ingest === undefined) throw notFound(`ingest "${ref}" not found`);
    return statusOf(ref, ingest);
  }

  async statuses(): Promise<readonly IngestStatus[]> {
    return [...this.ingests].map(([ref, ingest]) => statusOf(ref, ingest));
  }

  async abort(ref: string): Promise<void> {
    if (this.#locked.has(ref)) throw unavailable(`ingest "${ref}" is being written`);
    if (!this.ingests.delete(ref)) throw notFound(`ingest "${ref}" not found`);
  }

  /** What is there of the ref, unless another total says that it is to become something else. */
  #resumed(ref: string, total: number): Ingest | undefined {
    const found = this.ingests.get(ref);
    const isOther = found !== undefined && total !== 0 && found.total !== 0 && found.total !== total;
    return isOther ? undefined : found;
  }

  #blob(digest: string): Blob {
    parseDigest(digest);
    const blob = this.blobs.get(digest);
    if (blob === undefined) throw notFound(`content "${digest}" not found`);
    return blob;
  }
}

const statusOf = (ref: string, { bytes, total, expected, startedAt, updatedAt }: Ingest): IngestStatus => ({
  ref,
  offset: bytes.length,
  total,
  expected,
  startedAt,
  updatedAt,
});

class MemoryWriter implements BlobWriter {
  readonly #store: MemoryStore;
  readonly #ref: string;
  readonly #ingest: Ingest;
  readonly #unlock: () => void;
  #over = false;

  constructor(store: MemoryStore, ref: string, ingest: Ingest, unlock: () => void) {
    this.#store = store;
    this.#ref = ref;
    this.#ingest = ingest;
    this.#unlock = unlock;
  }

  status(): IngestStatus {
    return statusOf(this.#ref, this.#ingest);
  }

  digest(): string {
    return digestLike(this.#ingest.expected, this.#ingest.bytes);
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#keep(Buffer.concat([this.#ingest.bytes, chunk]));
  }

  async truncate(size: number): Promise<void> {
    const { length } = this.#ingest.bytes;
    if (!Number.isSafeInteger(size) || size < 0 || size > length)
      throw outOfRange(`ingest "${this.#ref}" of ${length} bytes cannot be truncated to ${size}`);
    this.#keep(this.#ingest.bytes.subarray(0, size));
  }

  async commit({ size = 0, expected = '' }: CommitBlob): Promise<BlobInfo> {
    if (expected !== '') parseDigest(expected);
    this.#refuseWhenOver();
    const { bytes } = this.#ingest;
    const wanted = expected || this.#ingest.expected;
    const digest = digestLike(wanted, bytes);
    if (size !== 0 && size !== bytes.length)
      throw failedPrecondition(`ingest "${this.#ref}" has ${bytes.length} bytes, expected ${size}`);
    if (wanted !== '' && wanted !== digest)
      throw failedPrecondition(`ingest "${this.#ref}" has digest "${digest}", expected "${wanted}"`);
    this.#store.ingests.delete(this.#ref);
    await this.close();
    if (this.#store.blobs.has(digest)) throw alreadyExists(`content "${digest}" already exists`);
    this.#store.blobs.set(digest, { bytes, createdAt: now() });
    return this.#store.info(digest);
  }

  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#unlock();
  }

  #keep(bytes: Buffer): void {
    this.#refuseWhenOver();
    Object.assign(this.#ingest, { bytes, updatedAt: now() });
  }

  #refuseWhenOver(): void {
    if (this.#over) throw failedPrecondition(`the writer of ingest "${this.#ref}" has ended`);
  }
}
