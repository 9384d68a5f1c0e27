import type { FileHandle } from 'node:fs/promises';
import type { BlobInfo, BlobWriter, CommitBlob, IngestStatus } from '../../kernel/contracts/content.js';
import type { Nanos } from '../../kernel/contracts/scope.js';
import { alreadyExists, failedPrecondition, outOfRange } from '../../kernel/errors.js';
import { type DigestAlgorithm, parseDigest } from '../../lib/digest.js';
import { fileError, whileDoing } from '../../lib/errno.js';
import { failpoint } from '../../lib/failpoint.js';
import type { Limit } from '../../lib/limit.js';
import { now } from '../../lib/rpc/timestamp.js';
import { CHUNK, hashFile, RunningHash } from './hashing.js';
import type { IngestPlan } from './ingest.js';
import { forgetHash, saveHash } from './saved-hash.js';

/** Bytes after which a flush begins while writing goes on, so that the one at commit has little left. */
const FLUSH_EVERY = 32 * CHUNK;

/** Bytes between two savings of the hash on the way: hashing so many again takes a moment. */
const SAVE_EVERY = 256 * CHUNK;

export interface OpenIngest extends IngestPlan {
  readonly directory: string;
  readonly startedAt: Nanos;
  readonly updatedAt: Nanos;
  /** Open for reading and writing. */
  readonly file: FileHandle;
  /** Of all bytes in the file. */
  readonly hash: RunningHash;
}

/** What a writer needs of its store. */
export interface WriterHost {
  /** How many flushes may run at once. */
  readonly flushes: Limit;
  /** Runs alone among everything that makes or deletes that blob. */
  exclusively<T>(digest: string, work: () => Promise<T>): Promise<T>;
  /** Whether that blob is here, whole. */
  has(digest: string, size: number): Promise<boolean>;
  /** Makes the flushed file a blob that survives a power cut. */
  adopt(ingest: OpenIngest, digest: string): Promise<void>;
  /** Deletes what is left of the ingest. */
  discard(ingest: OpenIngest): Promise<void>;
  /** Unlocks the ref; a hash is kept for whoever resumes. */
  release(ref: string, hash?: RunningHash): void;
}

/** A writer of the local store: bytes go straight to the file, hashed while they are written. */
export class LocalWriter implements BlobWriter {
  readonly #ingest: OpenIngest;
  readonly #host: WriterHost;
  #hash: RunningHash;
  #updatedAt: Nanos;
  #unflushed = 0;
  #flush: Promise<unknown> = Promise.resolve();
  #flushing = false;
  /** Offset from which on the hash is saved with the next flush. */
  #saveFrom = 0;
  #ended = false;

  constructor(ingest: OpenIngest, host: WriterHost) {
    this.#ingest = ingest;
    this.#host = host;
    this.#hash = ingest.hash;
    this.#updatedAt = ingest.updatedAt;
  }

  status(): IngestStatus {
    const { ref, total, expected, startedAt } = this.#ingest;
    return { ref, offset: this.#hash.offset, total, expected, startedAt, updatedAt: this.#updatedAt };
  }

  digest(): string {
    return this.#hash.digest();
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#requireOpen();
    for (let start = 0; start < chunk.byteLength; start += CHUNK) {
      await this.#writeSlice(chunk.subarray(start, start + CHUNK));
    }
    this.#updatedAt = now();
    this.#flushInBackground(chunk.byteLength);
  }

  async truncate(size: number): Promise<void> {
    this.#requireOpen();
    const { ref, file, directory } = this.#ingest;
    if (!Number.isSafeInteger(size) || size < 0 || size > this.#hash.offset) {
      throw outOfRange(`cannot truncate ingest "${ref}" of ${this.#hash.offset} bytes to ${size}`);
    }
    await this.#doing('truncating', this.#flush);
    await this.#doing('truncating', forgetHash(directory));
    await this.#doing('truncating', file.truncate(size));
    this.#hash = await this.#doing('hashing', hashFile(file, RunningHash.open(this.#hash.algorithm), size));
  }

  async commit({ size = 0, expected = '' }: CommitBlob): Promise<BlobInfo> {
    this.#requireOpen();
    const { ref } = this.#ingest;
    const { offset } = this.#hash;
    if (size > 0 && size !== offset) {
      throw failedPrecondition(`cannot commit ingest "${ref}": it has ${offset} bytes, expected ${size}`);
    }
    if (expected !== '') await this.#hashWith(parseDigest(expected).algorithm);
    const digest = this.digest();
    if (expected !== '' && digest !== expected) {
      throw failedPrecondition(`cannot commit ingest "${ref}": its digest is "${digest}", expected "${expected}"`);
    }
    return this.#host.exclusively(digest, () => this.#publish(digest, offset));
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const { ref, file } = this.#ingest;
    try {
      await this.#flush;
    } catch (error) {
      await this.#drop();
      throw fileError(error, `flushing ingest "${ref}"`);
    }
    await this.#saveHash(this.#hash, false);
    try {
      await this.#doing('closing', file.close());
    } finally {
      this.#host.release(ref, this.#hash);
    }
  }

  #requireOpen(): void {
    if (this.#ended) throw failedPrecondition(`the writer of ingest "${this.#ingest.ref}" is closed`);
  }

  /** Hashes while the kernel copies; a failed write leaves file and hash as they were. */
  async #writeSlice(slice: Uint8Array): Promise<void> {
    const before = this.#hash.copy();
    const written = this.#writeAt(slice, before.offset);
    this.#hash.update(slice);
    try {
      await this.#doing('writing', written);
    } catch (error) {
      this.#hash = before;
      await this.#doing('truncating', this.#ingest.file.truncate(before.offset));
      throw error;
    }
  }

  async #writeAt(slice: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < slice.byteLength; ) {
      const { bytesWritten } = await this.#ingest.file.write(slice, done, slice.byteLength - done, position + done);
      done += bytesWritten;
    }
  }

  #flushInBackground(written: number): void {
    this.#unflushed += written;
    if (this.#unflushed < FLUSH_EVERY || this.#flushing) return;
    this.#unflushed = 0;
    this.#flushing = true;
    const reached = this.#hash.offset >= this.#saveFrom ? this.#hash.copy() : undefined;
    const flush = this.#host.flushes.run(() => this.#ingest.file.datasync()).then(() => this.#saveHash(reached, true));
    if (reached) this.#saveFrom = reached.offset + SAVE_EVERY;
    // The kernel reports a failed flush once: whoever awaits #flush must be told.
    this.#flush = this.#flush
      .then(() => flush)
      .finally(() => {
        this.#flushing = false;
      });
    this.#flush.catch(() => undefined);
  }

  async #saveHash(hash: RunningHash | undefined, isFlushed: boolean): Promise<void> {
    try {
      if (hash) await saveHash(this.#ingest.directory, hash, isFlushed);
    } catch {
      // On a full disk, for example: without it whoever resumes only takes longer.
    }
  }

  async #hashWith(algorithm: DigestAlgorithm): Promise<void> {
    if (this.#hash.algorithm === algorithm) return;
    const hash = RunningHash.open(algorithm);
    this.#hash = await this.#doing('hashing', hashFile(this.#ingest.file, hash, this.#hash.offset));
  }

  async #publish(digest: string, size: number): Promise<BlobInfo> {
    if (await this.#host.has(digest, size)) {
      await this.#drop();
      throw alreadyExists(`content "${digest}" already exists`);
    }
    await this.#seal();
    await this.#host.adopt(this.#ingest, digest);
    await this.#drop();
    return { digest, size, createdAt: this.#updatedAt, updatedAt: this.#updatedAt };
  }

  /** What a failed flush left on disk is unknown, and flushing again would hide it: those bytes are never used. */
  async #seal(): Promise<void> {
    const { file } = this.#ingest;
    this.#updatedAt = now();
    const moment = new Date(Number(this.#updatedAt / 1_000_000n));
    try {
      await this.#flush;
      await file.utimes(moment, moment);
      failpoint('content.sync');
      await this.#host.flushes.run(() => file.sync());
    } catch (error) {
      await this.#drop();
      throw fileError(error, `flushing ingest "${this.#ingest.ref}"`);
    }
  }

  /** Ends the writer and deletes what is left of the ingest. */
  async #drop(): Promise<void> {
    this.#ended = true;
    await Promise.allSettled([this.#flush]);
    try {
      await this.#doing('closing', this.#ingest.file.close());
      await this.#host.discard(this.#ingest);
    } finally {
      this.#host.release(this.#ingest.ref);
    }
  }

  #doing<T>(verb: string, work: Promise<T>): Promise<T> {
    return whileDoing(`${verb} ingest "${this.#ingest.ref}"`, work);
  }
}
