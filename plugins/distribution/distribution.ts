/** The contract Distribution: sessions with registries, leases around them, pulls within. */
import type { Logger } from 'pino';
import type { Content } from '../../kernel/contracts/content.js';
import type { Diff } from '../../kernel/contracts/diff.js';
import type {
  Distribution,
  FetchOptions,
  PulledImage,
  PullOptions,
  RegistryAccess,
  ResolvedReference,
} from '../../kernel/contracts/distribution.js';
import type { Images } from '../../kernel/contracts/images.js';
import type { Leases } from '../../kernel/contracts/leases.js';
import type { Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { Snapshots } from '../../kernel/contracts/snapshots.js';
import { canceled, hasCode, invalidArgument } from '../../kernel/errors.js';
import { labelOf } from '../../lib/labels.js';
import { Limit } from '../../lib/limit.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { formatReference, objectOf, parseReference, type Reference } from '../../lib/reference/reference.js';
import { Blobs } from './blobs.js';
import { Documents } from './documents.js';
import { type Job, leaseLabels } from './job.js';
import { sourceOf } from './labels.js';
import { ProgressBoard } from './progress.js';
import { Pull, type PullPlan, type PullServices, type ResolvedTarget } from './pull.js';
import { loadHosts } from './registry/hosts-toml.js';
import { RegistrySession, type SessionLimits } from './registry/session.js';
import { Unpacker } from './unpack.js';

export interface DistributionServices {
  readonly content: Content;
  readonly diff: Diff;
  readonly images: Images;
  readonly leases: Leases;
  readonly namespaces: Namespaces;
  readonly snapshots: Snapshots;
}

export interface DistributionSettings {
  readonly limits: SessionLimits;
  /** Blobs downloaded at once, by all pulls together. */
  readonly downloads: number;
  readonly hostsDirectories: readonly string[];
  readonly userAgent: string;
}

const DEFAULT_SNAPSHOTTER = 'containerd.io/defaults/snapshotter';

export class RegistryDistribution implements Distribution {
  readonly #services: DistributionServices;
  readonly #pulling: PullServices;
  readonly #settings: DistributionSettings;
  readonly #log: Logger;
  /** What outlives the calls that began it. */
  readonly #afterwards = new Set<Promise<unknown>>();
  readonly #stopping = new AbortController();

  constructor(services: DistributionServices, settings: DistributionSettings, log: Logger) {
    this.#log = log;
    const { content, diff, images, snapshots } = services;
    const blobs = new Blobs(content, new Limit(settings.downloads));
    const documents = new Documents(content, settings.limits.maxDocument);
    const unpacker = new Unpacker({ content, snapshots, diff, blobs });
    this.#services = services;
    this.#settings = settings;
    this.#pulling = { content, images, documents, blobs, unpacker };
  }

  async resolve(scope: Scope, text: string, access: RegistryAccess = {}): Promise<ResolvedReference> {
    const reference = parseReference(text);
    const session = await this.#open(reference, access);
    try {
      return { reference: text, descriptor: await session.resolve(this.#signal(scope)) };
    } finally {
      session.close();
    }
  }

  async fetch(scope: Scope, text: string, options: FetchOptions = {}): Promise<Descriptor> {
    return this.#during(scope, text, options, async (job, signal) => {
      const root = await job.session.resolve(signal);
      await new Pull(this.#pulling, job, { ...treeOptions(options), unpack: [] }).fetch(root, signal);
      await this.#handOver(scope, root, []);
      return root;
    });
  }

  async pull(scope: Scope, text: string, options: PullOptions = {}): Promise<PulledImage> {
    const plan: PullPlan = { ...treeOptions(options), unpack: await this.#targets(scope, options) };
    return this.#during(scope, text, options, async (job, signal) => {
      job.board.say(`Resolving from OCI Registry (${text})`);
      const root = await job.session.resolve(signal);
      job.board.say(`Pulling from OCI Registry (${text})`);
      const pull = new Pull(this.#pulling, job, plan);
      const unpacked = await pull.fetch(root, signal);
      const pulled = await pull.record(root, options.names ?? [text], options, unpacked);
      await this.#handOver(
        scope,
        root,
        pulled.images.map(({ name }) => name),
      );
      job.board.say(`Completed pull from OCI Registry (${text})`);
      return pulled;
    });
  }

  /** Cancels what runs and resolves when all of it has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled([...this.#afterwards]);
  }

  #signal(scope: Scope): AbortSignal {
    const stopping = this.#stopping.signal;
    return scope.signal ? AbortSignal.any([scope.signal, stopping]) : stopping;
  }

  async #open(reference: Reference, access: RegistryAccess): Promise<RegistrySession> {
    objectOf(reference);
    const { hostsDirectories, limits, userAgent } = this.#settings;
    const directories = access.hostsDirectory === undefined ? hostsDirectories : [access.hostsDirectory];
    const hosts = await loadHosts(directories, reference.host, access.defaultScheme);
    return new RegistrySession({ reference, access, hosts, limits, userAgent });
  }

  /** Runs a call with a session and a lease, and releases both when nothing needs them any more. */
  async #during<T>(
    scope: Scope,
    text: string,
    options: FetchOptions,
    work: (job: Job, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = this.#signal(scope);
    if (signal.aborted) throw canceled(`the pull of "${text}" was cancelled`, { cause: signal.reason });
    const reference = parseReference(text);
    const session = await this.#open(reference, options);
    const { leases } = this.#services;
    const { namespace } = scope;
    const lease = await leases.create({ namespace }, { labels: leaseLabels(Date.now()) });
    const borrowed = new Set<Promise<unknown>>();
    const job: Job = {
      scope: { namespace, lease: lease.id },
      leases,
      session,
      board: new ProgressBoard(formatReference(reference), options.onProgress),
      source: sourceOf(reference),
      keepUntil(settled) {
        borrowed.add(settled);
        const returned = () => void borrowed.delete(settled);
        settled.then(returned, returned);
      },
    };
    try {
      return await work(job, signal);
    } finally {
      const released = this.#release(job, borrowed);
      // Others may still be using what this call began; it does not wait for them.
      if (borrowed.size === 0) await released;
    }
  }

  #release({ session, scope }: Job, borrowed: ReadonlySet<Promise<unknown>>): Promise<void> {
    const release = async (): Promise<void> => {
      await Promise.allSettled([...borrowed]);
      session.close();
      await this.#endLease({ namespace: scope.namespace }, scope.lease);
    };
    const released = release().catch((error: unknown) => {
      this.#log.warn({ err: error, lease: scope.lease }, 'the lease of a pull stays until it expires');
    });
    this.#afterwards.add(released);
    void released.then(() => this.#afterwards.delete(released));
    return released;
  }

  async #endLease(scope: Scope, id: string): Promise<void> {
    try {
      await this.#services.leases.delete(scope, id);
    } catch (error) {
      // Deleted by a client.
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  }

  /** Adds the results to the caller's own lease; what they refer to is held through them. */
  async #handOver({ namespace, lease }: Scope, root: Descriptor, names: readonly string[]): Promise<void> {
    if (lease === undefined) return;
    const { leases } = this.#services;
    await leases.addResource({ namespace }, lease, { type: 'content', id: root.digest });
    for (const name of names) await leases.addResource({ namespace }, lease, { type: 'images', id: name });
  }

  /** Before anything is fetched: an unknown snapshotter must not cost a download. */
  async #targets(scope: Scope, { unpack = [] }: PullOptions): Promise<readonly ResolvedTarget[]> {
    if (unpack.length === 0) return [];
    const known = this.#services.snapshots.names();
    const { labels } = await this.#services.namespaces.get(scope.namespace);
    const fallback = labelOf(labels, DEFAULT_SNAPSHOTTER) ?? known[0] ?? '';
    return unpack.map(({ platform = hostPlatform(), snapshotter }) => {
      const name = snapshotter === undefined || snapshotter === '' ? fallback : snapshotter;
      if (known.includes(name)) return { platform, snapshotter: name };
      throw invalidArgument(`snapshotter not loaded: "${name}"`, {
        remedy: `loaded are: ${known.join(', ') || 'none'}`,
      });
    });
  }
}

const treeOptions = ({ platforms = [hostPlatform()], allMetadata = false }: FetchOptions) => ({
  platforms,
  allMetadata,
});
