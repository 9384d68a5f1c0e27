/** Brings blobs from a registry into content, each one once however many ask for it. */
import type { Content, ContentWriter } from '../../kernel/contracts/content.js';
import type { Descriptor, Labels } from '../../kernel/contracts/scope.js';
import { hasCode } from '../../kernel/errors.js';
import type { Limit } from '../../lib/limit.js';
import { ingestRef } from '../../lib/oci/media-types.js';
import type { ChunkPair, ChunkPairs } from './chunks.js';
import { type Flight, Flights } from './flights.js';
import type { Job } from './job.js';
import { withSource } from './labels.js';
import type { BlobEvent } from './progress.js';
import type { RangeSettings } from './registry/ranges.js';
import { openWriter } from './writer.js';

/** Sees the bytes of a blob while they arrive, all of them in order or none. Never throws and never rejects. */
export interface Tap {
  begin(): Promise<void>;
  write(chunk: Uint8Array): Promise<void>;
  end(): void;
}

interface Download {
  readonly job: Job;
  readonly descriptor: Descriptor;
  readonly labels: Labels;
  readonly tap: Tap | undefined;
  readonly flight: Flight<BlobEvent>;
}

export interface BlobsOptions {
  /** How many are downloaded at once. */
  readonly downloads: Limit;
  readonly chunks: ChunkPairs;
  /** Bytes of the ranges in which larger blobs are fetched side by side; 0: each in one request. */
  readonly rangeSize: number;
}

export class Blobs {
  readonly #content: Content;
  readonly #downloads: Limit;
  readonly #chunks: ChunkPairs;
  readonly #ranges: RangeSettings | undefined;
  readonly #flights = new Flights<void, BlobEvent>();

  constructor(content: Content, { downloads, chunks, rangeSize }: BlobsOptions) {
    this.#content = content;
    this.#downloads = downloads;
    this.#chunks = chunks;
    this.#ranges = rangeSize === 0 ? undefined : { size: rangeSize, idle: () => downloads.takeIdle() };
  }

  /**
   * Resolves when the blob is in content, verified and held by the job's lease.
   * `tap` is used when the bytes come over the network now, from the first one on.
   */
  async fetch(job: Job, descriptor: Descriptor, signal: AbortSignal, tap?: Tap): Promise<void> {
    const { scope, leases, source } = job;
    const passenger = {
      signal,
      hold: () => leases.addResource(scope, scope.lease, { type: 'content', id: descriptor.digest }),
      observe: (event: BlobEvent) => job.board.event(descriptor, event),
      launched: job.keepUntil,
    };
    const labels = withSource({}, source) ?? {};
    await this.#flights.join(`${scope.namespace} ${descriptor.digest}`, passenger, (flight) =>
      this.#bring({ job, descriptor, labels, tap, flight }),
    );
    await this.#addSource(job, descriptor);
  }

  async #bring(download: Download): Promise<void> {
    const { job, descriptor, flight } = download;
    const writer = await openWriter(this.#content, job.scope, descriptor, flight.signal);
    if (!writer) {
      flight.report({ kind: 'already exists' });
      return;
    }
    try {
      await this.#fill(download, writer);
      flight.report({ kind: 'complete' });
    } catch (error) {
      await this.#drop(job, writer, ingestRef(descriptor));
      throw error;
    }
  }

  async #fill(download: Download, writer: ContentWriter): Promise<void> {
    const resumed = writer.status().offset > 0;
    await this.#download(download, writer);
    try {
      await this.#commit(download, writer);
    } catch (error) {
      if (!resumed || !hasCode(error, 'FAILED_PRECONDITION')) throw error;
      // What an earlier daemon left was not the beginning of this blob.
      await writer.truncate(0);
      await this.#download(download, writer);
      await this.#commit(download, writer);
    }
  }

  async #download(download: Download, writer: ContentWriter): Promise<void> {
    const { descriptor, flight } = download;
    if (writer.status().offset >= descriptor.size) return;
    await this.#downloads.run(
      () => this.#chunks.lend((chunks) => this.#receive(download, writer, chunks)),
      flight.signal,
    );
  }

  async #receive({ job, descriptor, tap, flight }: Download, writer: ContentWriter, chunks: ChunkPair): Promise<void> {
    const { offset } = writer.status();
    const watching = offset === 0 ? tap : undefined;
    await watching?.begin();
    const target = {
      offset,
      allocate: (remaining: number) => chunks.allocate(remaining),
      received: (bytes: number) => flight.report({ kind: 'downloading', bytes }),
      async take(chunk: Uint8Array) {
        await Promise.all([writer.write(chunk), watching?.write(chunk)]);
      },
      ...(this.#ranges ? { ranges: this.#ranges } : {}),
    };
    await job.origin.fetchBlob(descriptor, target, flight.signal);
    watching?.end();
  }

  async #commit({ descriptor, labels }: Download, writer: ContentWriter): Promise<void> {
    try {
      await writer.commit({ size: descriptor.size, expected: descriptor.digest, labels });
    } catch (error) {
      // A client wrote the same blob under another ref meanwhile.
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
    }
  }

  /** Leaves nothing of an ingest that failed. */
  async #drop({ scope }: Job, writer: ContentWriter, ref: string): Promise<void> {
    await writer.close();
    try {
      await this.#content.abort(scope, ref);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  }

  /** Adds this repository to the places the content is known to come from. */
  async #addSource({ scope, source }: Job, { digest }: Descriptor): Promise<void> {
    const { labels } = await this.#content.info(scope, digest);
    const added = withSource(labels, source);
    if (added && source) await this.#content.update(scope, digest, added, [`labels.${source.key}`]);
  }
}
