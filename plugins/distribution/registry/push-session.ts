/**
 * Writing to one repository (distribution spec, "Push"): blobs in one request
 * or in chunks, mounted from other repositories where possible, and manifests.
 * Everything goes to the first host that may be pushed to.
 */
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import { formatReference } from '../../../lib/reference/reference.js';
import { RegistryFailure } from './failure.js';
import { type HostAnswer, HostClient, type HostRequest } from './host-client.js';
import { bodyOf, checkDigest, type PushedBlob, type PushOutcome } from './pushed.js';
import { Redactor } from './redactor.js';
import { fetchTag } from './referrers.js';
import { retrying } from './retry.js';
import { pullScope } from './scopes.js';
import type { SessionOptions } from './session.js';
import { BlobUpload } from './upload.js';

export interface PushSessionOptions extends SessionOptions {
  /** Other repositories of the same registry that blobs may be mounted from. */
  readonly mounts: readonly string[];
  /** Bytes from which on blobs are sent in chunks of that size; 0: in one request, and in chunks only after a broken one. */
  readonly chunk: number;
}

/** A registry may hash what it was sent before it answers. */
const PATIENCE = 5;
const ACCEPTED = [200, 201, 202, 204];

export interface PushedManifest {
  /** Whether the registry keeps the referrers of a subject itself. */
  readonly knowsReferrers: boolean;
}

export class PushSession {
  readonly #options: PushSessionOptions;
  readonly #closed = new AbortController();
  readonly #host: HostClient;

  /** FAILED_PRECONDITION when no host of the registry may be pushed to. */
  constructor(options: PushSessionOptions) {
    this.#options = options;
    const { reference, hosts, mounts } = options;
    const host = hosts.find(({ capabilities }) => capabilities.includes('push'));
    if (!host) {
      throw new RegistryFailure('FAILED_PRECONDITION', `no configured host of registry "${reference.host}" can push`);
    }
    const scopes = [`repository:${reference.repository}:pull,push`, ...mounts.map(pullScope)];
    this.#host = new HostClient(host, { ...options, scopes, redactor: new Redactor(), closed: this.#closed.signal });
  }

  close(): void {
    this.#closed.abort();
    this.#host.close();
  }

  /** Sends the blob unless it is there or can be mounted. */
  pushBlob(blob: PushedBlob, signal: AbortSignal): Promise<PushOutcome> {
    const upload = new BlobUpload(this, blob, this.#options.chunk);
    return this.retrying(signal, (attempt) => upload.attempt(attempt, signal));
  }

  /** Puts a manifest or an index in place, under a tag or its own digest. */
  pushManifest(
    { mediaType, digest }: Descriptor,
    bytes: Buffer,
    object: string,
    signal: AbortSignal,
  ): Promise<PushedManifest> {
    return this.retrying(signal, async () => {
      const answer = await this.request({
        method: 'PUT',
        path: `manifests/${object}`,
        headers: { 'content-type': mediaType },
        body: bodyOf(bytes),
        signal,
      });
      const doing = this.doing(`pushing manifest "${digest}"`);
      if (!ACCEPTED.includes(answer.status)) throw await this.#host.failure(doing, answer);
      checkDigest(doing, answer.response, digest);
      await this.#host.drop(answer);
      return { knowsReferrers: answer.response.headers['oci-subject'] !== undefined };
    });
  }

  /** The referrers that the tag of a subject lists. */
  taggedReferrers(subject: string, signal: AbortSignal): Promise<readonly Descriptor[]> {
    const { maxDocument, idleTimeout } = this.#options.limits;
    const query = {
      digest: subject,
      maxDocument,
      idleTimeout,
      doing: this.doing(`a referrer of "${subject}"`),
      signal,
    };
    return this.retrying(signal, () => fetchTag(this.#host, query));
  }

  doing(what: string): string {
    return `${what} to "${formatReference(this.#options.reference)}"`;
  }

  request(request: HostRequest): Promise<HostAnswer> {
    const { headerTimeout } = this.#options.limits;
    return this.#host.request({ headerTimeout: headerTimeout * PATIENCE, ...request });
  }

  get host(): HostClient {
    return this.#host;
  }

  retrying<T>(signal: AbortSignal, attempt: (attempt: { progressed(): void }) => Promise<T>): Promise<T> {
    const either = AbortSignal.any([signal, this.#closed.signal]);
    return retrying(this.#options.limits.retry, either, attempt);
  }
}
