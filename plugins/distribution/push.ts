/** One push: blobs side by side, then the manifests that refer to them, the root last. */
import type { Content } from '../../kernel/contracts/content.js';
import type { PullProgress } from '../../kernel/contracts/distribution.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { labelOf } from '../../lib/labels.js';
import type { Limit } from '../../lib/limit.js';
import { ingestRef, OCI_INDEX } from '../../lib/oci/media-types.js';
import { referrerOf } from '../../lib/oci/referrers.js';
import { together } from './group.js';
import type { Source } from './labels.js';
import type { PlannedDocument, PushPlan } from './push-plan.js';
import { addReferrer } from './referrers-tag.js';
import type { PushSession } from './registry/push-session.js';
import { readRange } from './stored.js';

/** Milliseconds between two reports of the same part's bytes. */
const PACE = 100;
/** Repositories of one registry that are asked for a blob before it is sent. */
const MAX_MOUNTS = 3;

export interface PushJob {
  readonly scope: Scope;
  readonly content: Content;
  readonly session: PushSession;
  readonly plan: PushPlan;
  /** Tag or digest that the root gets. */
  readonly object: string;
  readonly uploads: Limit;
  /** By digest. */
  readonly mounts: ReadonlyMap<string, readonly string[]>;
  readonly report: (progress: PullProgress) => void;
  readonly name: string;
}

/** For each blob the repositories of the registry it is known to have come from, the pushed one left out. */
export async function mountSources(
  content: Content,
  scope: Scope,
  blobs: readonly Descriptor[],
  { key, repository }: Source,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const mounts = new Map<string, readonly string[]>();
  for (const { digest } of blobs) {
    const { labels } = await content.info(scope, digest);
    const known = (labelOf(labels, key) ?? '').split(',').filter((name) => name !== '' && name !== repository);
    if (known.length > 0) mounts.set(digest, known.slice(0, MAX_MOUNTS));
  }
  return mounts;
}

export class Push {
  readonly #job: PushJob;
  readonly #parents = new Map<string, string>();

  constructor(job: PushJob) {
    this.#job = job;
    for (const { descriptor, children } of job.plan.documents) {
      for (const child of children) this.#parents.set(child.digest, ingestRef(descriptor));
    }
  }

  async run(signal: AbortSignal): Promise<Descriptor> {
    const { plan, uploads } = this.#job;
    for (const { descriptor } of plan.documents.toReversed()) this.#say(descriptor, 'waiting', 0);
    for (const blob of plan.blobs) this.#say(blob, 'waiting', 0);
    await together(
      signal,
      plan.blobs.map((blob) => (either) => uploads.run(() => this.#blob(blob, either), either)),
    );
    const root = plan.documents.at(-1);
    for (const document of plan.documents) await this.#document(document, document === root, signal);
    return root?.descriptor ?? { mediaType: '', digest: '', size: 0 };
  }

  async #blob(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    const { session, content, scope, mounts } = this.#job;
    let last = 0;
    const outcome = await session.pushBlob(
      {
        descriptor,
        mountFrom: mounts.get(descriptor.digest) ?? [],
        read: (offset, length) => readRange(content, scope, descriptor.digest, offset, length),
        sent: (bytes) => {
          const now = performance.now();
          if (bytes < descriptor.size && now - last < PACE) return;
          last = now;
          this.#say(descriptor, 'uploading', bytes);
        },
      },
      signal,
    );
    this.#say(descriptor, outcome === 'uploaded' ? 'complete' : 'already exists', descriptor.size);
  }

  async #document({ descriptor, bytes }: PlannedDocument, isRoot: boolean, signal: AbortSignal): Promise<void> {
    const { session, object } = this.#job;
    this.#say(descriptor, 'uploading', 0);
    const name = isRoot ? object : descriptor.digest;
    const { knowsReferrers } = await session.pushManifest(descriptor, bytes, name, signal);
    const referrer = descriptor.mediaType === OCI_INDEX || knowsReferrers ? undefined : referrerOf(descriptor, bytes);
    if (referrer) await addReferrer(session, referrer, signal);
    this.#say(descriptor, 'complete', descriptor.size);
  }

  #say(descriptor: Descriptor, event: string, progress: number): void {
    this.#job.report({
      event,
      name: ingestRef(descriptor),
      parents: [this.#parents.get(descriptor.digest) ?? this.#job.name],
      progress,
      total: descriptor.size,
      descriptor,
    });
  }
}
