/**
 * Distribution: images from registries into this daemon, and back.
 *
 * Vocabulary. A *reference* names an image at a registry:
 * `docker.io/library/redis:alpine`, host included, tag or digest required
 * (`lib/reference` makes one of the short names people type). *Resolving* asks
 * the registry which descriptor it names now. *Fetching* brings the manifests,
 * the configuration and the layers behind a descriptor into content.
 * *Unpacking* turns layers into a chain of committed snapshots, each named by
 * its chain ID. *Pulling* does all of it in one pass and then, last, writes
 * the image record. *Pushing* goes the other way. A *referrer* is a manifest
 * that names another one as its subject: a signature, for example.
 *
 *     reference --resolve--> descriptor --fetch--> content --unpack--> snapshots --> image
 *
 * What holds for every method:
 * - Everything a call makes is under a lease until its end, so that no
 *   collection takes it meanwhile. With `scope.lease` the results are also
 *   added to that lease.
 * - A call that failed or was cancelled leaves no image record, no snapshot
 *   under construction and no ingest. Blobs it had committed stay valid, held
 *   by nobody, until the next collection. Only a daemon that was killed leaves
 *   ingests; the next fetch of those blobs continues them.
 * - Calls for the same blob or the same layer share one download and one
 *   unpack. When the caller that began it gives up, the others go on.
 * - Bytes from a registry are never believed: digests and sizes are computed
 *   here and compared before anything becomes visible.
 * - No error, log line, event or progress report holds a credential, a token,
 *   or the query part of a URL.
 *
 * Errors of every method:
 * - INVALID_ARGUMENT: the reference, a manifest, an index or a configuration
 *   is malformed, of an unsupported kind (Docker schema 1) or over a limit.
 * - NOT_FOUND: the registry has no such image, or the index has nothing for
 *   the platform.
 * - UNAUTHENTICATED: the registry wants credentials and none were given, or it
 *   refused them. PERMISSION_DENIED: it knows the caller and says no.
 * - FAILED_PRECONDITION: bytes of another digest or size than promised.
 * - RESOURCE_EXHAUSTED: the registry limits the rate and asks to wait too
 *   long; a body is over its limit; the disk is full.
 * - UNAVAILABLE: name resolution, connection, TLS, or an error of the server,
 *   after the retries; the host is named.
 * - DEADLINE_EXCEEDED: no progress for the configured time.
 * - CANCELED: `scope.signal` aborted.
 */
import { one } from '../token.js';
import type { Image } from './images.js';
import type { Descriptor, Labels, Platform, Scope } from './scope.js';

/** What a caller shows to a registry. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly secret: string }
  /** An OAuth 2 refresh token ("identity token"). */
  | { readonly kind: 'refresh-token'; readonly token: string }
  /** The whole value of the Authorization header. */
  | { readonly kind: 'header'; readonly value: string };

export interface CredentialsRequest {
  /** The registry as written in the reference or in hosts.toml, port included; never the host of a token server. */
  readonly host: string;
  readonly reference: string;
  /** The values of the WWW-Authenticate header that were received. */
  readonly challenges: readonly string[];
}

/** How to reach the registry; all of it is optional. */
export interface RegistryAccess {
  /** Asked once per host, when the host answers 401; undefined means anonymous. */
  readonly credentials?: (request: CredentialsRequest) => Promise<Credentials | undefined>;
  /** Added to every request to a registry; not sent to hosts it redirects to. */
  readonly headers?: Labels;
  /** A directory of `<host>/hosts.toml` to use instead of the configured ones. */
  readonly hostsDirectory?: string;
  /** Scheme for hosts that no hosts.toml mentions. Default: https, but http for loopback hosts on another port than 443. */
  readonly defaultScheme?: 'http' | 'https';
}

/** One step of a pull; `event` is one of containerd's words, or a sentence when there is no `descriptor`. */
export interface PullProgress {
  readonly event:
    | 'waiting'
    | 'downloading'
    | 'complete'
    | 'already exists'
    | 'extracting'
    | 'extracted'
    | 'saved'
    | (string & {});
  /** The ingest ref of the descriptor, such as `layer-sha256:...`, or the image name. */
  readonly name: string;
  /** Names of the manifests or indexes that led here; the image name for the root. */
  readonly parents: readonly string[];
  /** Bytes done and bytes in all. */
  readonly progress: number;
  readonly total: number;
  readonly descriptor?: Descriptor;
}

export interface FetchOptions extends RegistryAccess {
  /**
   * For which platforms to fetch manifests and layers of an index, one manifest
   * for each. Default: the platform of this host. NOT_FOUND when the index has none of them.
   */
  readonly platforms?: readonly Platform[] | 'all';
  /** Fetch the manifests and configurations of the other platforms too. */
  readonly allMetadata?: boolean;
  /** Called often and synchronously; must not throw. */
  readonly onProgress?: (progress: PullProgress) => void;
}

export interface UnpackTarget {
  /** Manifests of this platform are unpacked. Default: the platform of this host. */
  readonly platform?: Platform;
  /** Default: the namespace's (`containerd.io/defaults/snapshotter`), else the daemon's. INVALID_ARGUMENT when unknown. */
  readonly snapshotter?: string;
}

export interface PullOptions extends FetchOptions {
  /** Names the image gets. Default: the reference. An image of that name is pointed to the new target. */
  readonly names?: readonly string[];
  /**
   * Further names, each with `@` and the digest behind it where it says so. Unlike
   * `names` they go when the image of the first of those does.
   */
  readonly extraNames?: readonly { readonly name: string; readonly addDigest: boolean }[];
  readonly labels?: Labels;
  /** Default: none, content only. */
  readonly unpack?: readonly UnpackTarget[];
}

export interface PushOptions extends RegistryAccess {
  /** Of an index, push these only; one alone is pushed in place of the index. Default: everything the target refers to. */
  readonly platforms?: readonly Platform[] | 'all';
  /** Called often and synchronously; must not throw. `uploading` is its word for bytes on their way. */
  readonly onProgress?: (progress: PullProgress) => void;
}

export interface ReferrersOptions extends RegistryAccess {
  /** Only these. */
  readonly artifactType?: string;
}

export interface ResolvedReference {
  readonly reference: string;
  readonly descriptor: Descriptor;
}

/** A manifest whose layers are now snapshots. */
export interface UnpackedImage {
  readonly manifest: Descriptor;
  readonly snapshotter: string;
  /** Name of the topmost committed snapshot; empty for an image without layers. */
  readonly chainId: string;
}

export interface PulledImage {
  readonly images: readonly Image[];
  readonly unpacked: readonly UnpackedImage[];
}

export interface Distribution {
  /** Asks the registry; fetches no more than one manifest. */
  resolve(scope: Scope, reference: string, access?: RegistryAccess): Promise<ResolvedReference>;
  /**
   * Content only, no image record. Held by `scope.lease`, and without one by
   * nobody: the next collection takes it, so a caller who wants to keep it passes a lease.
   */
  fetch(scope: Scope, reference: string, options?: FetchOptions): Promise<Descriptor>;
  /** Fetches, unpacks and records. Repeating it is cheap: what is here already is neither fetched nor unpacked again. */
  pull(scope: Scope, reference: string, options?: PullOptions): Promise<PulledImage>;
  /**
   * Puts what the target refers to into the repository of the reference, and
   * the target itself under its tag. What is there is not sent again, what the
   * registry has in another repository is mounted. Resolves to the descriptor
   * that the reference names then. NOT_FOUND when a part of it is not in content.
   */
  push(scope: Scope, reference: string, target: Descriptor, options?: PushOptions): Promise<Descriptor>;
  /** The manifests in the repository that name the digest of the reference as their subject. INVALID_ARGUMENT without a digest. */
  referrers(scope: Scope, reference: string, options?: ReferrersOptions): Promise<readonly Descriptor[]>;
}

export const Distribution = one<Distribution>('distribution@1');
