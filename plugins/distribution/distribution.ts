/** The contract Distribution: sessions with registries, leases around them, pulls within. */
import type { Logger } from 'pino';
import type { Content } from '../../kernel/contracts/content.js';
import type { CredentialSource } from '../../kernel/contracts/credentials.js';
import type { Diff } from '../../kernel/contracts/diff.js';
import type {
  Distribution,
  FetchOptions,
  PulledImage,
  PullOptions,
  PushOptions,
  ReferrersOptions,
  RegistryAccess,
  ResolvedReference,
} from '../../kernel/contracts/distribution.js';
import type { ImageVerifier } from '../../kernel/contracts/image-verifiers.js';
import type { Images } from '../../kernel/contracts/images.js';
import type { Leases } from '../../kernel/contracts/leases.js';
import type { Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { Snapshots } from '../../kernel/contracts/snapshots.js';
import { invalidArgument } from '../../kernel/errors.js';
import { isDigest } from '../../lib/digest.js';
import { asksToDiscard } from '../../lib/discard-label.js';
import { Limit } from '../../lib/limit.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { formatReference, objectOf, parseReference, type Reference } from '../../lib/reference/reference.js';
import { ImageArchives } from './archive/archives.js';
import { Blobs } from './blobs.js';
import { ChunkPairs } from './chunks.js';
import { withSources } from './credentials.js';
import { Documents } from './documents.js';
import type { Job } from './job.js';
import { Jobs } from './jobs.js';
import { sourceOf } from './labels.js';
import { ProgressBoard } from './progress.js';
import { Pull, type PullPlan, type PullServices } from './pull.js';
import { mountSources, Push } from './push.js';
import { type PushPlan, planPush } from './push-plan.js';
import type { RegistryHost } from './registry/host.js';
import { loadHosts } from './registry/hosts-toml.js';
import { PushSession } from './registry/push-session.js';
import { RegistrySession, type SessionLimits } from './registry/session.js';
import { resolveTargets } from './targets.js';
import { Unpacker } from './unpack.js';
import { verifyImage } from './verification.js';

export interface DistributionServices {
  readonly content: Content;
  /** Asked where the caller shows nothing. */
  readonly credentials?: ReadonlyMap<string, CredentialSource>;
  readonly diff: Diff;
  readonly images: Images;
  readonly leases: Leases;
  readonly namespaces: Namespaces;
  readonly snapshots: Snapshots;
  /** All must agree before an image is fetched. */
  readonly verifiers?: ReadonlyMap<string, ImageVerifier>;
}

export interface DistributionSettings {
  readonly limits: SessionLimits;
  /** Blobs downloaded at once, by all pulls together. */
  readonly downloads: number;
  /** Bytes of the ranges in which larger blobs are downloaded side by side; 0: in one request. */
  readonly downloadChunk: number;
  readonly hostsDirectories: readonly string[];
  readonly userAgent: string;
  /** Whether the blobs of layers may go once these are unpacked. Default: false. */
  readonly discardUnpacked?: boolean;
  /** Bytes from which on blobs are uploaded in chunks of that size; 0: in one request. */
  readonly uploadChunk: number;
}

export class RegistryDistribution implements Distribution {
  readonly #services: DistributionServices;
  readonly #pulling: PullServices;
  readonly #settings: DistributionSettings;
  readonly #uploads: Limit;
  readonly #jobs: Jobs;
  /** The same services, for images in files. */
  readonly archives: ImageArchives;

  constructor(services: DistributionServices, settings: DistributionSettings, log: Logger) {
    const { content, diff, images, snapshots } = services;
    const chunks = new ChunkPairs();
    const downloads = new Limit(settings.downloads);
    const blobs = new Blobs(content, { downloads, chunks, rangeSize: settings.downloadChunk });
    const documents = new Documents(content, settings.limits.maxDocument);
    const discards = settings.discardUnpacked ?? false;
    const unpacker = new Unpacker({ content, snapshots, diff, blobs, chunks, discards });
    this.#services = services;
    this.#settings = settings;
    this.#uploads = new Limit(settings.downloads);
    this.#pulling = { content, images, documents, blobs, unpacker };
    this.#jobs = new Jobs(services.leases, log);
    this.archives = new ImageArchives(services, this.#pulling, this.#jobs, settings.limits.maxDocument);
  }

  async resolve(scope: Scope, text: string, access: RegistryAccess = {}): Promise<ResolvedReference> {
    const reference = parseReference(text);
    const session = await this.#open(reference, access);
    try {
      return { reference: text, descriptor: await session.resolve(this.#jobs.signal(scope)) };
    } finally {
      session.close();
    }
  }

  async fetch(scope: Scope, text: string, options: FetchOptions = {}): Promise<Descriptor> {
    return this.#during(scope, text, options, async (job, session, signal) => {
      const root = await session.resolve(signal);
      await this.#verify(text, root, signal);
      await new Pull(this.#pulling, job, { ...treeOptions(options), unpack: [] }).fetch(root, signal);
      await this.#jobs.handOver(scope, root, []);
      return root;
    });
  }

  async pull(scope: Scope, text: string, options: PullOptions = {}): Promise<PulledImage> {
    const plan: PullPlan = {
      ...treeOptions(options),
      unpack: await resolveTargets(this.#services, scope, options.unpack ?? []),
    };
    return this.#during(scope, text, options, async (job, session, signal) => {
      job.board.say(`Resolving from OCI Registry (${text})`);
      const root = await session.resolve(signal);
      await this.#verify(text, root, signal);
      job.board.say(`Pulling from OCI Registry (${text})`);
      const pull = new Pull(this.#pulling, job, plan);
      const unpacked = await pull.fetch(root, signal);
      const names = options.names ?? [text];
      const pulled = await pull.record(root, names, options, unpacked);
      await pull.record(root, extraNames(root, options), extraOptions(names, options), []);
      await this.#jobs.handOver(
        scope,
        root,
        pulled.images.map(({ name }) => name),
      );
      job.board.say(`Completed pull from OCI Registry (${text})`);
      return pulled;
    });
  }

  async push(scope: Scope, text: string, target: Descriptor, options: PushOptions = {}): Promise<Descriptor> {
    const reference = parseReference(text);
    const report = options.onProgress ?? (() => {});
    const say = (event: string) => report({ event, name: '', parents: [], progress: 0, total: 0 });
    return this.#jobs.holding(scope, [target], async (held) => {
      const { content } = this.#services;
      const { maxDocument } = this.#settings.limits;
      const plan = await planPush(content, held, target, { platforms: options.platforms ?? 'all', maxDocument });
      const object = objectOf(reference);
      checkObject(object, plan);
      const mounts = await mountSources(content, held, plan.blobs, sourceOf(reference));
      const session = await this.#openPush(reference, options, [...new Set([...mounts.values()].flat())]);
      try {
        say(`Pushing to OCI Registry (${text})`);
        const job = { scope: held, content, session, plan, object, uploads: this.#uploads, mounts, report, name: text };
        const pushed = await new Push(job).run(this.#jobs.signal(scope));
        say(`Completed push to OCI Registry (${text})`);
        return pushed;
      } finally {
        session.close();
      }
    });
  }

  async referrers(scope: Scope, text: string, options: ReferrersOptions = {}): Promise<readonly Descriptor[]> {
    const reference = parseReference(text);
    const { digest } = reference;
    if (digest === undefined) throw invalidArgument(`reference "${text}" has no digest to list the referrers of`);
    const session = await this.#open(reference, options);
    try {
      return await session.referrers(digest, options.artifactType, this.#jobs.signal(scope));
    } finally {
      session.close();
    }
  }

  /** Cancels what runs and resolves when all of it has ended. */
  stop(): Promise<void> {
    return this.#jobs.stop();
  }

  async #open(reference: Reference, access: RegistryAccess): Promise<RegistrySession> {
    objectOf(reference);
    const { limits, userAgent } = this.#settings;
    const hosts = await this.#hosts(reference, access);
    return new RegistrySession({ reference, access: this.#access(access), hosts, limits, userAgent });
  }

  /** Read again for each call, so that a change of a file needs no restart. */
  #hosts({ host }: Reference, { hostsDirectory, defaultScheme }: RegistryAccess): Promise<readonly RegistryHost[]> {
    const { hostsDirectories } = this.#settings;
    const directories = hostsDirectory === undefined ? hostsDirectories : [hostsDirectory];
    return loadHosts(directories, host, defaultScheme);
  }

  async #openPush(reference: Reference, access: RegistryAccess, mounts: readonly string[]): Promise<PushSession> {
    const { limits, userAgent, uploadChunk: chunk } = this.#settings;
    const hosts = await this.#hosts(reference, access);
    return new PushSession({ reference, access: this.#access(access), hosts, limits, userAgent, mounts, chunk });
  }

  #verify(text: string, root: Descriptor, signal: AbortSignal): Promise<void> {
    return verifyImage(this.#services.verifiers ?? new Map(), text, root, signal);
  }

  #access(access: RegistryAccess): RegistryAccess {
    return withSources(access, this.#services.credentials ?? new Map());
  }

  /** Whether whoever pulls, or its namespace, has no use for blobs of layers that are unpacked. */
  async #discards({ namespace }: Scope, { labels = {} }: Pick<PullOptions, 'labels'>): Promise<boolean> {
    if (this.#pulling.unpacker.discards || asksToDiscard(labels)) return true;
    return asksToDiscard((await this.#services.namespaces.get(namespace)).labels);
  }

  /** Runs a call with a session to the registry of the reference. */
  async #during<T>(
    scope: Scope,
    text: string,
    options: FetchOptions & Pick<PullOptions, 'labels'>,
    work: (job: Job, session: RegistrySession, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const reference = parseReference(text);
    const discards = await this.#discards(scope, options);
    const session = await this.#open(reference, options);
    const board = new ProgressBoard(formatReference(reference), options.onProgress);
    const job = { what: `the pull of "${text}"`, scope, origin: session, source: sourceOf(reference), board, discards };
    return this.#jobs.run(job, (running, signal) => work(running, session, signal));
  }
}

const extraNames = ({ digest }: Descriptor, { extraNames: extra = [] }: PullOptions): readonly string[] =>
  extra.map(({ name, addDigest }) => (addDigest ? `${name}@${digest}` : name));

/** Collected with the image they belong to, as containerd does it. */
const extraOptions = ([main]: readonly string[], { labels }: PullOptions): Pick<PullOptions, 'labels'> =>
  main === undefined
    ? { ...(labels ? { labels } : {}) }
    : {
        labels: {
          ...labels,
          'containerd.io/gc.bref.image': main,
          'containerd.io/gc.expire': new Date().toISOString(),
        },
      };

/** A digest in the reference is a promise about what is pushed. */
function checkObject(object: string, { documents }: PushPlan): void {
  const digest = documents.at(-1)?.descriptor.digest ?? '';
  if (!isDigest(object) || object === digest) return;
  throw invalidArgument(`the reference names "${object}", but "${digest}" is to be pushed`);
}

const treeOptions = ({ platforms = [hostPlatform()], allMetadata = false }: FetchOptions) => ({
  platforms,
  allMetadata,
});
