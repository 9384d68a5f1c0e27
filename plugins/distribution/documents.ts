/** Manifests, indexes and configurations: fetched, verified, kept in content with labels to what they refer to. */
import type { Content, ContentWriter } from '../../kernel/contracts/content.js';
import type { Descriptor, Labels } from '../../kernel/contracts/scope.js';
import { hasCode, resourceExhausted } from '../../kernel/errors.js';
import { labelOf } from '../../lib/labels.js';
import { ingestRef } from '../../lib/oci/media-types.js';
import { type Flight, Flights } from './flights.js';
import type { Job } from './job.js';
import { withSource } from './labels.js';
import type { BlobEvent } from './progress.js';
import { readDocument } from './stored.js';
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
      for (;;) {
        const bytes = await this.#obtain(job, descriptor, flight);
        // Undefined: damaged bytes have been put out of the store, so that there is something to write.
        if (bytes) return bytes;
      }
    });
  }

  async #obtain(job: Job, descriptor: Descriptor, flight: Flight<BlobEvent>): Promise<Buffer | undefined> {
    const writer = await openWriter(this.#content, job.scope, descriptor, flight.signal);
    if (!writer) {
      const bytes = await this.#readIntact(job, descriptor);
      if (bytes) flight.report({ kind: 'already exists' });
      return bytes;
    }
    try {
      const bytes = (await this.#adopt(descriptor, writer))
        ? await this.#readIntact(job, descriptor)
        : await this.#download(job, descriptor, writer, flight);
      if (bytes) flight.report({ kind: 'complete' });
      return bytes;
    } catch (error) {
      await writer.close();
      await this.#abort(job, descriptor);
      throw error;
    }
  }

  /** Undefined when what was here was damaged, and is no more. */
  async #readIntact({ scope }: Job, descriptor: Descriptor): Promise<Buffer | undefined> {
    try {
      return await readDocument(this.#content, scope, descriptor);
    } catch (error) {
      if (!hasCode(error, 'DATA_LOSS') || (await this.#content.verify(scope, descriptor.digest))) throw error;
      return undefined;
    }
  }

  /** Takes what is in the store already, in another namespace or from a daemon that was killed; false when that is not it. */
  async #adopt({ digest: expected, size }: Descriptor, writer: ContentWriter): Promise<boolean> {
    if (size === 0 || writer.status().offset !== size) return false;
    try {
      await writer.commit({ size, expected });
    } catch (error) {
      if (!hasCode(error, 'FAILED_PRECONDITION')) throw error;
      return false;
    }
    return true;
  }

  async #download(
    job: Job,
    descriptor: Descriptor,
    writer: ContentWriter,
    { signal }: Flight<BlobEvent>,
  ): Promise<Buffer> {
    const bytes = await job.origin.fetchDocument(descriptor, signal);
    await writer.truncate(0);
    await writer.write(bytes);
    try {
      await writer.commit({ size: descriptor.size, expected: descriptor.digest });
    } catch (error) {
      // Its record was here all the time, and its bytes were lost or damaged: now they are whole again.
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
    }
    return bytes;
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
    const wanted = { ...labels, ...withSource(current, source) };
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
