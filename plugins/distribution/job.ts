/** What one call to distribution carries through all its parts. */
import { randomBytes } from 'node:crypto';
import type { Leases } from '../../kernel/contracts/leases.js';
import type { Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Descriptor, Labels, Scope } from '../../kernel/contracts/scope.js';
import type { Source } from './labels.js';
import type { ProgressBoard } from './progress.js';
import type { BlobTarget } from './registry/session.js';

/** Where bytes come from that are not in content yet. */
export interface BlobOrigin {
  /** The bytes of a document, of exactly the size and digest promised. */
  fetchDocument(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer>;
  /** Streams a blob from `target.offset` to its end; its digest is for the caller to verify. */
  fetchBlob(descriptor: Descriptor, target: BlobTarget, signal: AbortSignal): Promise<void>;
  /** Ends whatever still runs. */
  close(): void;
}

export interface Job {
  /** The namespace, and the lease that holds everything this call makes; no signal, so that cleaning up is never cancelled. */
  readonly scope: Scope & { readonly lease: string };
  readonly leases: Leases;
  readonly origin: BlobOrigin;
  readonly board: ProgressBoard;
  /** Whether blobs of layers that are unpacked are not asked for. */
  readonly discards: boolean;
  /** Undefined when it comes from no registry. */
  readonly source: Source | undefined;
  /** Keeps scope and session until the promise settles. */
  readonly keepUntil: (settled: Promise<unknown>) => void;
}

/** Milliseconds that a lease outlives a daemon that was killed: partial downloads can be resumed as long. */
const LEASE_LIFETIME = 24 * 3600 * 1000;

/** Tells the leases of pulls from those of clients. */
const PULL = 'keelson/pull';

export const leaseLabels = (now: number): Labels => ({
  'containerd.io/gc.expire': new Date(now + LEASE_LIFETIME).toISOString(),
  [PULL]: 'true',
});

/**
 * Lets go of the half unpacked snapshots that a killed daemon left under the
 * leases of its pulls: nobody can go on with them. What was downloaded stays
 * until those leases expire.
 */
export async function releaseUnfinished(leases: Leases, namespaces: Namespaces): Promise<void> {
  for (const { name: namespace } of await namespaces.list()) {
    const scope = { namespace };
    for (const { id } of await leases.list(scope, [`labels.${JSON.stringify(PULL)}==true`])) {
      for (const resource of await leases.resources(scope, id)) {
        if (!resource.type.startsWith('snapshots/') || !resource.id.startsWith(EXTRACT)) continue;
        await leases.deleteResource(scope, id, resource);
      }
    }
  }
}

/** What keys of snapshots under construction begin with, as containerd's do. */
const EXTRACT = 'extract-';

/** containerd's form of the key of a snapshot under construction. */
export const extractKey = (chainId: string): string =>
  `${EXTRACT}${process.hrtime.bigint() % 1_000_000_000n}-${randomBytes(3).toString('base64url')} ${chainId}`;
