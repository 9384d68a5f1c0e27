import { mkdirSync, readdirSync } from 'node:fs';
import { chmod, open, opendir, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type {
  BlobInfo,
  BlobReader,
  BlobWriter,
  ContentStore,
  IngestStatus,
  OpenWriter,
} from '../../kernel/contracts/content.js';
import { alreadyExists, invalidArgument, notFound } from '../../kernel/errors.js';
import { CANONICAL, DIGEST_ALGORITHMS, formatDigest, isDigest, parseDigest } from '../../lib/digest.js';
import { whileDoing } from '../../lib/errno.js';
import { failpoint } from '../../lib/failpoint.js';
import { KeyedLock } from '../../lib/keyed-lock.js';
import { Limit } from '../../lib/limit.js';
import { syncDirectory } from '../../lib/sync-directory.js';
import { hashFile, type RunningHash, SuspendedHashes } from './hashing.js';
import { createIngest, dataFile, type IngestPlan, readIngest, unlessMissing, writeTotal } from './ingest.js';
import { RefLocks } from './locks.js';
import { OpenBlobs } from './open-blobs.js';
import { StorePaths } from './paths.js';
import { savedHash } from './saved-hash.js';
import { LocalWriter, type OpenIngest, type WriterHost } from './writer.js';

/** Flushes at once: the threads that serve all other files must not all wait for the disk. */
const FLUSHES = 2;

/** Blobs looked at side by side when all of them are walked. */
const WALKED_AT_ONCE = 64;

const READ_ONLY = 0o444;

function checkWriter({ ref, total = 0, expected = '' }: OpenWriter): IngestPlan {
  if (ref === '') throw invalidArgument('the ref of an ingest must not be empty');
  if (!Number.isSafeInteger(total) || total < 0) throw invalidArgument(`ingest "${ref}" cannot have ${total} bytes`);
  if (expected !== '') parseDigest(expected);
  return { ref, total, expected };
}

/** A content store in a directory of a local file system, for one process. */
export class LocalStore implements ContentStore, WriterHost {
  readonly flushes = new Limit(FLUSHES);
  readonly #paths: StorePaths;
  readonly #open = new OpenBlobs();
  readonly #locks = new RefLocks();
  readonly #suspended = new SuspendedHashes();
  readonly #blobLock = new KeyedLock();

  /** The directories are on disk. Each flush may take milliseconds, and nothing needs it before the first commit. */
  readonly #rooted: Promise<unknown>;

  private constructor(root: string) {
    this.#paths = new StorePaths(root);
    const { blobs, ingests } = this.#paths;
    const directories = [blobs, ingests, ...DIGEST_ALGORITHMS.map((algorithm) => this.#paths.algorithm(algorithm))];
    for (const path of directories) mkdirSync(path, { recursive: true, mode: 0o700 });
    this.#rooted = Promise.all([root, blobs].map(syncDirectory));
    this.#rooted.catch(() => {}); // whoever commits is told
  }

  /** Makes the directories, and deletes what a crash left of ingests that were being made or finished. */
  static async open(root: string): Promise<LocalStore> {
    const store = new LocalStore(root);
    await store.#deleteFragments();
    return store;
  }

  async info(digest: string): Promise<BlobInfo> {
    const path = this.#paths.blob(digest);
    const found = await whileDoing(`reading content "${digest}"`, unlessMissing(stat(path, { bigint: true })));
    if (!found) throw notFound(`content "${digest}" not found`);
    return { digest, size: Number(found.size), createdAt: found.mtimeNs, updatedAt: found.mtimeNs };
  }

  async *walk(): AsyncIterable<BlobInfo> {
    for (const algorithm of DIGEST_ALGORITHMS) {
      const batch: string[] = [];
      for await (const { name } of await opendir(this.#paths.algorithm(algorithm), { bufferSize: WALKED_AT_ONCE })) {
        const digest = formatDigest(algorithm, name);
        if (isDigest(digest)) batch.push(digest);
        if (batch.length === WALKED_AT_ONCE) yield* await this.#blobs(batch.splice(0));
      }
      yield* await this.#blobs(batch);
    }
  }

  /** Those of them that are there. */
  async #blobs(digests: readonly string[]): Promise<readonly BlobInfo[]> {
    const found = await Promise.all(
      digests.map(async (digest) => {
        const stats = await unlessMissing(stat(this.#paths.blob(digest), { bigint: true }));
        return stats && { digest, size: Number(stats.size), createdAt: stats.mtimeNs, updatedAt: stats.mtimeNs };
      }),
    );
    return found.filter((blob) => blob !== undefined);
  }

  async reader(digest: string): Promise<BlobReader> {
    const reader = await whileDoing(
      `opening content "${digest}"`,
      unlessMissing(this.#open.reader(digest, () => this.#paths.blob(digest))),
    );
    if (!reader) throw notFound(`content "${digest}" not found`);
    return reader;
  }

  /** Closes what is kept open for the next reader; after that no file of the store is open. */
  async close(): Promise<void> {
    this.#open.close();
    await Promise.allSettled([this.#rooted]);
  }

  async writer(options: OpenWriter): Promise<BlobWriter> {
    const plan = checkWriter(options);
    this.#locks.take(plan.ref);
    try {
      return new LocalWriter(await whileDoing(`opening ingest "${plan.ref}"`, this.#openIngest(plan)), this);
    } catch (error) {
      this.#locks.release(plan.ref);
      throw error;
    }
  }

  async delete(digest: string): Promise<void> {
    const path = this.#paths.blob(digest);
    await this.exclusively(digest, async () => {
      this.#open.forget(digest);
      const deleting = unlessMissing(unlink(path).then(() => true));
      const deleted = await whileDoing(`deleting content "${digest}"`, deleting);
      // Not synced: what a power cut brings back has no record and goes again.
      if (!deleted) throw notFound(`content "${digest}" not found`);
    });
  }

  async status(ref: string): Promise<IngestStatus> {
    const status = await whileDoing(`reading ingest "${ref}"`, readIngest(this.#paths.ingest(ref)));
    if (!status) throw notFound(`ingest "${ref}" not found`);
    return status;
  }

  async statuses(): Promise<readonly IngestStatus[]> {
    const directories = this.#ingestDirectories();
    const statuses = await Promise.all(directories.map(readIngest));
    return statuses.filter((status) => status !== undefined);
  }

  async abort(ref: string): Promise<void> {
    this.#locks.take(ref);
    try {
      const directory = this.#paths.ingest(ref);
      if (!(await unlessMissing(stat(directory)))) throw notFound(`ingest "${ref}" not found`);
      this.#suspended.forget(ref);
      await whileDoing(`deleting ingest "${ref}"`, rm(directory, { recursive: true, force: true }));
    } finally {
      this.#locks.release(ref);
    }
  }

  exclusively<T>(digest: string, work: () => Promise<T>): Promise<T> {
    return this.#blobLock.run(digest, work);
  }

  async has(digest: string, size: number): Promise<boolean> {
    const found = await unlessMissing(stat(this.#paths.blob(digest)));
    return found?.size === size;
  }

  async adopt(ingest: OpenIngest, digest: string): Promise<void> {
    const target = this.#paths.blob(digest);
    const doing = `committing content "${digest}"`;
    this.#open.forget(digest);
    await whileDoing(doing, this.#rooted);
    failpoint('content.rename');
    await whileDoing(doing, rename(dataFile(ingest.directory), target));
    failpoint('content.dirsync');
    try {
      await whileDoing(doing, chmod(target, READ_ONLY));
      await whileDoing(doing, syncDirectory(dirname(target)));
    } catch (error) {
      await unlink(target);
      throw error;
    }
  }

  async discard({ ref, directory }: OpenIngest): Promise<void> {
    await whileDoing(`deleting ingest "${ref}"`, rm(directory, { recursive: true, force: true }));
  }

  release(ref: string, hash?: RunningHash): void {
    if (hash) this.#suspended.keep(ref, hash);
    this.#locks.release(ref);
  }

  async #openIngest(plan: IngestPlan): Promise<OpenIngest> {
    const directory = this.#paths.ingest(plan.ref);
    await this.#refuseIfHere(plan, directory);
    const status = await this.#resume(plan, directory);
    const file = await open(dataFile(directory), 'r+');
    try {
      const { size } = await file.stat();
      const algorithm = plan.expected === '' ? CANONICAL : parseDigest(plan.expected).algorithm;
      const known = this.#suspended.take(plan.ref, algorithm, size) ?? (await savedHash(directory, algorithm, size));
      const hash = await hashFile(file, known, size);
      return { ...status, directory, file, hash };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async #refuseIfHere({ ref, total, expected }: IngestPlan, directory: string): Promise<void> {
    if (expected === '') return;
    const blob = await unlessMissing(stat(this.#paths.blob(expected)));
    if (!blob || (total > 0 && blob.size !== total)) return;
    this.#suspended.forget(ref);
    await rm(directory, { recursive: true, force: true });
    throw alreadyExists(`content "${expected}" already exists`);
  }

  /** The ingest to go on with; a new one when there is none or when its total was another. */
  async #resume(plan: IngestPlan, directory: string): Promise<IngestStatus> {
    const found = await readIngest(directory);
    const fits = found?.ref === plan.ref && !(plan.total > 0 && found.total > 0 && plan.total !== found.total);
    if (!found || !fits) {
      await createIngest(directory, plan);
      return this.status(plan.ref);
    }
    if (plan.total > 0 && found.total === 0) await writeTotal(directory, plan.total);
    return { ...found, total: found.total || plan.total, expected: plan.expected || found.expected };
  }

  #ingestDirectories(): string[] {
    return readdirSync(this.#paths.ingests).map((name) => join(this.#paths.ingests, name));
  }

  async #deleteFragments(): Promise<void> {
    for (const directory of this.#ingestDirectories()) {
      const status = await readIngest(directory);
      if (status && basename(this.#paths.ingest(status.ref)) === basename(directory)) continue;
      await rm(directory, { recursive: true, force: true });
    }
  }
}
