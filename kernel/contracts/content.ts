/**
 * Content: immutable blobs named by the digest of their bytes, and ingests,
 * which are blobs still being written.
 *
 * Vocabulary. A *blob* is committed content. An *ingest* is identified by a
 * caller-chosen *ref*, is locked by its open writer, survives a restart, and
 * resumes at its durable offset. *Commit* makes an ingest a blob: its bytes
 * are fsynced, its size and digest verified, before anybody can see it.
 *
 *     (none) --writer--> ingest (locked) --close--> ingest --writer--> ...
 *     ingest (locked) --commit--> blob          ingest --abort--> (none)
 *
 * Two contracts: {@link ContentStore} is the bare backend a plugin author
 * writes, one flat space without labels; {@link Content} is what everybody
 * calls: the same, seen through namespaces, with labels, leases and collection.
 */
import { one } from '../token.js';
import type { Labels, Nanos, Scope, UpdateMask } from './scope.js';

export interface BlobInfo {
  /** `algorithm:hex`, for example `sha256:` and 64 lower-case digits. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly createdAt: Nanos;
  readonly updatedAt: Nanos;
}

export interface ContentInfo extends BlobInfo {
  readonly labels: Labels;
}

export interface IngestStatus {
  readonly ref: string;
  /** Bytes written so far. */
  readonly offset: number;
  /** Bytes expected in all; 0 when unknown. */
  readonly total: number;
  /** The digest promised when the writer was opened; empty when unknown. */
  readonly expected: string;
  readonly startedAt: Nanos;
  readonly updatedAt: Nanos;
}

export interface OpenWriter {
  /** Not empty. Its lock is exclusive: UNAVAILABLE while another writer holds it. */
  readonly ref: string;
  /** Bytes expected; 0 or absent when unknown. An existing ingest with another total starts over. */
  readonly total?: number;
  /** Digest expected. ALREADY_EXISTS when that blob is here, and the ingest is dropped. */
  readonly expected?: string;
}

export interface CommitBlob {
  /** FAILED_PRECONDITION, ingest kept, when the ingest is of another size. 0 or absent: not checked. */
  readonly size?: number;
  /** FAILED_PRECONDITION, ingest kept, when the bytes have another digest. */
  readonly expected?: string;
}

/** An open, locked ingest. Calls must not overlap. */
export interface BlobWriter {
  status(): IngestStatus;
  /** Digest of the bytes written so far. */
  digest(): string;
  /** Appends at the current offset. The chunk may be reused once the promise settles. */
  write(chunk: Uint8Array): Promise<void>;
  /** Drops all bytes after `size`, which is at most the current offset (else OUT_OF_RANGE). */
  truncate(size: number): Promise<void>;
  /** ALREADY_EXISTS when the blob is here already (the ingest is dropped). Ends the writer on success. */
  commit(expectation: CommitBlob): Promise<BlobInfo>;
  /** Unlocks. The ingest stays and can be resumed. Idempotent; a no-op after commit. */
  close(): Promise<void>;
}

export interface BlobReader {
  /** Bytes. */
  readonly size: number;
  /**
   * Fills `target` from `offset`; resolves to the number of bytes put, less than
   * asked only at the end of the blob. DATA_LOSS when the disk fails to return them.
   */
  read(target: Uint8Array, offset: number): Promise<number>;
  close(): Promise<void>;
}

/** A backend: blobs and ingests in one flat space. Nothing here knows namespaces or labels. */
export interface ContentStore {
  /** NOT_FOUND; INVALID_ARGUMENT for a malformed digest (always before any path is built). */
  info(digest: string): Promise<BlobInfo>;
  walk(): AsyncIterable<BlobInfo>;
  /** NOT_FOUND. */
  reader(digest: string): Promise<BlobReader>;
  writer(options: OpenWriter): Promise<BlobWriter>;
  /** NOT_FOUND. */
  delete(digest: string): Promise<void>;
  /** NOT_FOUND. */
  status(ref: string): Promise<IngestStatus>;
  statuses(): Promise<readonly IngestStatus[]>;
  /** Drops an ingest. NOT_FOUND; UNAVAILABLE while a writer holds it. */
  abort(ref: string): Promise<void>;
}

/** The backend behind {@link Content}. */
export const ContentStore = one<ContentStore>('content-store@1');

export interface CommitContent extends CommitBlob {
  /** Labels of the new content; without effect when commit answers ALREADY_EXISTS. */
  readonly labels?: Labels;
}

/** An open, locked ingest of one namespace. */
export interface ContentWriter extends Omit<BlobWriter, 'commit'> {
  commit(expectation: CommitContent): Promise<ContentInfo>;
}

export interface Content {
  /** NOT_FOUND when this namespace does not hold it. */
  info(scope: Scope, digest: string): Promise<ContentInfo>;
  /** Mask paths `labels` and `labels.KEY` (empty value deletes); others INVALID_ARGUMENT. */
  update(scope: Scope, digest: string, labels: Labels, mask?: UpdateMask): Promise<ContentInfo>;
  /** In order of digest. `filters`: containerd's grammar, any of them must match; none matches all. */
  walk(scope: Scope, filters?: readonly string[]): AsyncIterable<ContentInfo>;
  reader(scope: Scope, digest: string): Promise<BlobReader>;
  /**
   * Reads the blob whole and resolves to whether its bytes are still those of
   * its digest. One that is damaged is taken out of the store, for every
   * namespace, and its records stay: whoever brings it next repairs it in place.
   * NOT_FOUND when this namespace does not hold it.
   */
  verify(scope: Scope, digest: string): Promise<boolean>;
  /**
   * As {@link ContentStore.writer}, per namespace: ALREADY_EXISTS when this
   * namespace holds `expected`. Under the sharing policy `shared` (the
   * default), `expected` held elsewhere in the store needs no upload: the
   * writer opens at its full size, and commit, with its labels, makes it this
   * namespace's. Writing to such a writer gives the ingest bytes of its own.
   */
  writer(scope: Scope, options: OpenWriter): Promise<ContentWriter>;
  /** Removes it from this namespace; bytes go when the collector finds nobody holds them. NOT_FOUND. */
  delete(scope: Scope, digest: string): Promise<void>;
  status(scope: Scope, ref: string): Promise<IngestStatus>;
  /** `filters` on `ref`. */
  statuses(scope: Scope, filters?: readonly string[]): Promise<readonly IngestStatus[]>;
  /** NOT_FOUND. Also while a writer holds it: that writer can then not commit (ABORTED). */
  abort(scope: Scope, ref: string): Promise<void>;
}

export const Content = one<Content>('content@1');
