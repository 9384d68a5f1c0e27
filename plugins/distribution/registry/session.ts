/**
 * One caller's dealings with one repository: which hosts to ask, who we are to
 * each, and what to make of their answers. Made for a pull and closed with it,
 * so that credentials and tokens of one caller never serve another.
 */
import type { IncomingMessage } from 'node:http';
import type { RegistryAccess } from '../../../kernel/contracts/distribution.js';
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import { digestOf, isDigest, parseDigest } from '../../../lib/digest.js';
import { isSchema1, MANIFEST_TYPES } from '../../../lib/oci/media-types.js';
import { formatReference, objectOf, type Reference } from '../../../lib/reference/reference.js';
import { type BlobPart, endedEarly, lengthOf, openBlob, type PartTarget } from './blob-request.js';
import { readChunks, readWhole } from './body.js';
import { NEVER, RegistryFailure } from './failure.js';
import type { Capability, RegistryHost } from './host.js';
import { type HostAnswer, HostClient, type HostRequest } from './host-client.js';
import { type FetchRange, RangedBlob, type RangeSettings } from './ranges.js';
import { Redactor } from './redactor.js';
import { fetchReferrers } from './referrers.js';
import { type RetryPolicy, retrying } from './retry.js';

export interface SessionLimits {
  readonly retry: RetryPolicy;
  /** Milliseconds to connect, unless the host's file says otherwise. */
  readonly dialTimeout: number;
  /** Milliseconds to the end of an answer's headers. */
  readonly headerTimeout: number;
  /** Milliseconds without progress in a body. */
  readonly idleTimeout: number;
  /** Bytes of a manifest, an index or a configuration. */
  readonly maxDocument: number;
}

export interface SessionOptions {
  readonly reference: Reference;
  readonly access: RegistryAccess;
  readonly hosts: readonly RegistryHost[];
  readonly limits: SessionLimits;
  readonly userAgent: string;
  /** What tokens are asked for; default: pulling from the repository of the reference. */
  readonly scopes?: readonly string[];
}

export interface BlobTarget extends PartTarget {
  /** Bytes that are there already. */
  readonly offset: number;
  /** How larger blobs are fetched in ranges side by side; undefined: in one request. */
  readonly ranges?: RangeSettings;
}

/** Bytes an attempt must bring to count as progress; else a peer that drips could keep us for ever. */
const PROGRESS = 1024;

const mediaTypeOf = (response: IncomingMessage): string =>
  (response.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';

export class RegistrySession {
  readonly #reference: Reference;
  readonly #hosts: readonly HostClient[];
  readonly #limits: SessionLimits;
  readonly #closed = new AbortController();
  /** Found out with the first blob that was asked for in ranges. */
  #ignoresRanges = false;

  constructor(options: SessionOptions) {
    this.#reference = options.reference;
    this.#limits = options.limits;
    const shared = { ...options, redactor: new Redactor(), closed: this.#closed.signal };
    this.#hosts = options.hosts.map((host) => new HostClient(host, shared));
  }

  get reference(): Reference {
    return this.#reference;
  }

  /** Ends connections and whatever still runs on them. */
  close(): void {
    this.#closed.abort();
    for (const host of this.#hosts) host.close();
  }

  /** What the reference names now. The digest of a tag is the server's word until the bytes are fetched by it. */
  resolve(signal: AbortSignal): Promise<Descriptor> {
    const object = objectOf(this.#reference);
    return this.#retrying(signal, 'resolve', (host) => this.#resolveAt(host, object, signal));
  }

  async #resolveAt(host: HostClient, object: string, signal: AbortSignal): Promise<Descriptor> {
    const request: HostRequest = { method: 'HEAD', path: `manifests/${object}`, accept: MANIFEST_TYPES, signal };
    const doing = `resolving "${formatReference(this.#reference)}"`;
    const head = await host.request(request);
    if (head.status === 200) {
      head.response.resume();
      const descriptor = this.#headDescriptor(head.response, object);
      if (descriptor) return descriptor;
    } else if (head.status !== 405) {
      throw await host.failure(doing, head);
    }
    return this.#resolveByGet(host, { ...request, method: 'GET' }, doing, object);
  }

  /** Undefined when the headers do not tell enough. */
  #headDescriptor(response: IncomingMessage, object: string): Descriptor | undefined {
    const header = response.headers['docker-content-digest'];
    const digest = typeof header === 'string' && isDigest(header) ? header : undefined;
    const size = lengthOf(response);
    if (size === undefined || (digest === undefined && !isDigest(object))) return undefined;
    return this.#rootDescriptor(mediaTypeOf(response), digest ?? object, size, object);
  }

  async #resolveByGet(host: HostClient, request: HostRequest, doing: string, object: string): Promise<Descriptor> {
    const get = await host.request(request);
    if (get.status !== 200) throw await host.failure(doing, get);
    const { maxDocument, idleTimeout } = this.#limits;
    const body = await readWhole(get.response, maxDocument, { url: get.url, timeout: idleTimeout });
    const algorithm = isDigest(object) ? parseDigest(object).algorithm : 'sha256';
    return this.#rootDescriptor(mediaTypeOf(get.response), digestOf(body, algorithm), body.length, object);
  }

  #rootDescriptor(mediaType: string, digest: string, size: number, object: string): Descriptor {
    const shown = formatReference(this.#reference);
    if (isSchema1(mediaType)) {
      const remedy = 'push the image again with a current client';
      throw new RegistryFailure(
        'INVALID_ARGUMENT',
        `"${shown}" is an image of Docker schema 1, which cannot be pulled`,
        { remedy },
      );
    }
    if (!MANIFEST_TYPES.includes(mediaType)) {
      throw new RegistryFailure(
        'INVALID_ARGUMENT',
        `"${shown}" is of media type "${mediaType.slice(0, 100)}", which is no image`,
      );
    }
    if (isDigest(object) && object !== digest) {
      throw new RegistryFailure(
        'FAILED_PRECONDITION',
        `the registry answers with "${digest}" when asked for "${shown}"`,
      );
    }
    return { mediaType, digest, size };
  }

  /** The manifests that name `digest` as their subject. */
  referrers(digest: string, artifactType: string | undefined, signal: AbortSignal): Promise<readonly Descriptor[]> {
    const { maxDocument, idleTimeout } = this.#limits;
    const doing = `listing the referrers of "${digest}" in "${formatReference(this.#reference)}"`;
    const query = { digest, maxDocument, idleTimeout, doing, signal, ...(artifactType ? { artifactType } : {}) };
    return this.#retrying(signal, 'referrers', (host) => fetchReferrers(host, query));
  }

  /** The bytes of a manifest, an index or a configuration, of exactly the size and digest promised. */
  fetchDocument(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    const { maxDocument } = this.#limits;
    if (descriptor.size > maxDocument) {
      throw new RegistryFailure(
        'RESOURCE_EXHAUSTED',
        `document "${descriptor.digest}" has ${descriptor.size} bytes; more than ${maxDocument} are not taken`,
      );
    }
    return this.#retrying(signal, 'pull', async (host) => {
      const answer = await this.#openDocument(host, descriptor, signal);
      const body = await readWhole(answer.response, descriptor.size, {
        url: answer.url,
        timeout: this.#limits.idleTimeout,
      });
      this.#verify(descriptor, body);
      return body;
    });
  }

  async #openDocument(host: HostClient, descriptor: Descriptor, signal: AbortSignal): Promise<HostAnswer> {
    const blob = { method: 'GET', path: `blobs/${descriptor.digest}`, signal } as const;
    const isManifest = MANIFEST_TYPES.includes(descriptor.mediaType);
    const first = isManifest
      ? await host.request({ ...blob, path: `manifests/${descriptor.digest}`, accept: [descriptor.mediaType] })
      : await host.request(blob);
    const doing = `fetching "${descriptor.digest}" of "${formatReference(this.#reference)}"`;
    if (first.status === 404 && isManifest) {
      const second = await host.request(blob);
      if (second.status === 200) {
        await host.drop(first);
        return second;
      }
      await host.drop(second);
    }
    if (first.status !== 200) throw await host.failure(doing, first);
    const said = mediaTypeOf(first.response);
    if (isManifest && said !== descriptor.mediaType && (MANIFEST_TYPES.includes(said) || isSchema1(said))) {
      first.response.destroy();
      throw new RegistryFailure(
        'INVALID_ARGUMENT',
        `${doing}: the registry calls it "${said}", its descriptor "${descriptor.mediaType}"`,
      );
    }
    return first;
  }

  #verify(descriptor: Descriptor, body: Buffer): void {
    const digest = digestOf(body, parseDigest(descriptor.digest).algorithm);
    if (body.length === descriptor.size && digest === descriptor.digest) return;
    throw new RegistryFailure(
      'FAILED_PRECONDITION',
      `the registry sent ${body.length} bytes of digest "${digest}" for "${descriptor.digest}" of ${descriptor.size} bytes`,
    );
  }

  /**
   * Streams a blob from `target.offset` to its end, going on where a broken
   * connection left off. Its digest is for the caller to verify; never more
   * than the promised bytes are handed over, and fewer are a failure.
   */
  async fetchBlob(descriptor: Descriptor, target: BlobTarget, signal: AbortSignal): Promise<void> {
    const { size } = descriptor;
    const start = await this.#fetchRanges(descriptor, target, signal);
    if (start < size) await this.#fetchPart(descriptor, { start, end: size, isRange: false }, target, signal);
  }

  /** Side by side as far as that is wanted and hosts serve ranges; resolves to the offset where those end. */
  async #fetchRanges(descriptor: Descriptor, target: BlobTarget, signal: AbortSignal): Promise<number> {
    const { ranges, offset } = target;
    if (!ranges || this.#ignoresRanges || descriptor.size - offset <= ranges.size) return offset;
    const fetch: FetchRange = (range, into, either) =>
      this.#fetchPart(descriptor, { ...range, isRange: true }, into, either);
    const blob = new RangedBlob({ size: descriptor.size, ranges, target, fetch });
    const { reached, isIgnored } = await blob.run(signal);
    this.#ignoresRanges ||= isIgnored;
    return reached;
  }

  async #fetchPart(
    descriptor: Descriptor,
    { start, end, isRange }: BlobPart,
    target: PartTarget,
    signal: AbortSignal,
  ): Promise<void> {
    const doing = `fetching "${descriptor.digest}" of "${formatReference(this.#reference)}"`;
    let offset = start;
    await this.#retrying(signal, 'pull', async (host, { progressed }) => {
      const part = { start: offset, end, isRange };
      const answer = await openBlob(host, { descriptor, part, doing, signal });
      target.answered?.();
      let skip = answer.status === 206 ? 0 : offset;
      await readChunks(answer.response, {
        url: answer.url,
        timeout: this.#limits.idleTimeout,
        expected: end - offset + skip,
        received: (bytes) =>
          target.received?.(Math.max(part.start, answer.status === 206 ? part.start + bytes : bytes)),
        allocate: (remaining) => target.allocate(remaining),
        take: async (chunk) => {
          const wanted = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - wanted.length;
          if (wanted.length === 0) return;
          await target.take(wanted);
          offset += wanted.length;
          if (offset - part.start >= PROGRESS) progressed();
        },
      });
      if (offset < end) throw endedEarly(descriptor, offset);
    });
  }

  /** One attempt asks the hosts in turn; what one cannot do, the next may. Only the last one's failure is tried again. */
  #retrying<T>(
    signal: AbortSignal,
    capability: Capability,
    ask: (host: HostClient, attempt: { progressed(): void }) => Promise<T>,
  ): Promise<T> {
    const hosts = this.#hosts.filter((host) => host.capabilities.includes(capability));
    return retrying(this.#limits.retry, AbortSignal.any([signal, this.#closed.signal]), async (attempt) => {
      const failures: RegistryFailure[] = [];
      for (const host of hosts) {
        try {
          return await ask(host, attempt);
        } catch (error) {
          if (!(error instanceof RegistryFailure) || error.code === 'CANCELED') throw error;
          failures.push(error);
        }
      }
      throw lastOf(failures, this.#reference.host, capability);
    });
  }
}

/** The failure of the registry itself, with what its mirrors said before. */
function lastOf(failures: readonly RegistryFailure[], registry: string, capability: Capability): RegistryFailure {
  const last = failures.at(-1);
  if (!last) {
    return new RegistryFailure(
      'FAILED_PRECONDITION',
      `no configured host of registry "${registry}" can ${capability}`,
      { retry: NEVER },
    );
  }
  if (failures.length === 1) return last;
  const mirrors = failures.slice(0, -1).map(({ message }) => message);
  const status = last.status === undefined ? {} : { status: last.status };
  return new RegistryFailure(last.code, `${last.message} (mirrors before it: ${mirrors.join('; ')})`, {
    retry: last.retry,
    ...status,
  });
}
