/** Manifests, indexes and configurations: fetched, verified, kept in content with labels to what they refer to. */
import type { Content, ContentWriter } from '../../kernel/contracts/content.js';
import type { Descriptor, Labels } from '../../kernel/contracts/scope.js';
import { dataLoss, hasCode, resourceExhausted } from '../../kernel/errors.js';
import { digestOf, parseDigest } from '../../lib/digest.js';
import { labelOf } from '../../lib/labels.js';
import { ingestRef } from '../../lib/oci/media-types.js';
import { type Flight, Flights } from './flights.js';
import type { Job } from './job.js';
import { withSource } from './labels.js';
import type { BlobEvent } from './progress.js';
import { openWriter } from './writer.js';

export class Documents {
  readonly #content: Content;
  readonly #maxSize: number;
  readonly #flights = new Flights<Buffer, BlobEvent>();

  constructor(content: Content, maxSize: number) {
    this.#content = content;
    this.#maxSize = maxSize;
  }

  /**
   * The bytes of a document, from content or else from the registry. In content,
   * and held by the job's lease, when this resolves. RESOURCE_EXHAUSTED when it
   * is larger than any document may be.
   */
  async fetch(job: Job, descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    if (descriptor.size > this.#maxSize) {
      const limit = `more than the ${this.#maxSize} that are taken`;
      throw resourceExhausted(`document "${descriptor.digest}" has ${descriptor.size} bytes, ${limit}`);
    }
    const { scope, leases } = job;
    const passenger = {
      signal,
      hold: () => leases.addResource(scope, scope.lease, { type: 'content', id: descriptor.digest }),
      observe: (event: BlobEvent) => job.board.event(descriptor, event),
      launched: job.keepUntil,
    };
    return this.#flights.join(`${scope.namespace} ${descriptor.digest}`, passenger, async (flight) => {
      const writer = await openWriter(this.#content, scope, descriptor, flight.signal);
      if (!writer) {
        const bytes = await this.#read(job, descriptor);
        flight.report({ kind: 'already exists' });
        return bytes;
      }
      try {
        const bytes =
          (await this.#adopt(job, descriptor, writer)) ?? (await this.#download(job, descriptor, writer, flight));
        flight.report({ kind: 'complete' });
        return bytes;
      } catch (error) {
        await writer.close();
        await this.#abort(job, descriptor);
        throw error;
      }
    });
  }

  /** What is in the store already, in another namespace or from a daemon that was killed; undefined when that is not it. */
  async #adopt(job: Job, descriptor: Descriptor, writer: ContentWriter): Promise<Buffer | undefined> {
    const { digest: expected, size } = descriptor;
    if (size === 0 || writer.status().offset !== size) return undefined;
    try {
      await writer.commit({ size, expected });
    } catch (error) {
      if (!hasCode(error, 'FAILED_PRECONDITION')) throw error;
      return undefined;
    }
    return this.#read(job, descriptor);
  }

  async #download(
    job: Job,
    descriptor: Descriptor,
    writer: ContentWriter,
    { signal }: Flight<BlobEvent>,
  ): Promise<Buffer> {
    const bytes = await job.session.fetchDocument(descriptor, signal);
    await writer.truncate(0);
    await writer.write(bytes);
    await writer.commit({ size: descriptor.size, expected: descriptor.digest });
    return bytes;
  }

  async #read({ scope }: Job, { digest, size }: Descriptor): Promise<Buffer> {
    const reader = await this.#content.reader(scope, digest);
    try {
      const bytes = Buffer.alloc(size);
      const read = reader.size === size ? await reader.read(bytes, 0) : 0;
      if (read === size && digestOf(bytes, parseDigest(digest).algorithm) === digest) return bytes;
    } finally {
      await reader.close();
    }
    throw dataLoss(`document "${digest}" in the content store is damaged`, {
      remedy: 'delete that content and pull again',
    });
  }

  async #abort({ scope }: Job, descriptor: Descriptor): Promise<void> {
    try {
      await this.#content.abort(scope, ingestRef(descriptor));
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  }

  /** Adds labels, and the source the document came from; writes only what changes. */
  async label({ scope, source }: Job, { digest }: Descriptor, labels: Labels): Promise<void> {
    const current = (await this.#content.info(scope, digest)).labels;
    const wanted = { ...labels, ...withSource(labelOf(current, source.key), source) };
    const changed = Object.keys(wanted).filter((key) => labelOf(current, key) !== labelOf(wanted, key));
    if (changed.length === 0) return;
    await this.#content.update(
      scope,
      digest,
      wanted,
      changed.map((key) => `labels.${key}`),
    );
  }
}
