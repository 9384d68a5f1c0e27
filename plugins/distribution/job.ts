/** What one call to distribution carries through all its parts. */
import type { Leases } from '../../kernel/contracts/leases.js';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import type { Source } from './labels.js';
import type { ProgressBoard } from './progress.js';
import type { RegistrySession } from './registry/session.js';

export interface Job {
  /** The namespace, and the lease that holds everything this call makes; no signal, so that cleaning up is never cancelled. */
  readonly scope: Scope & { readonly lease: string };
  readonly leases: Leases;
  readonly session: RegistrySession;
  readonly board: ProgressBoard;
  readonly source: Source;
  /** Keeps scope and session until the promise settles. */
  readonly keepUntil: (settled: Promise<unknown>) => void;
}

/** Milliseconds that a lease outlives a daemon that was killed: partial downloads can be resumed as long. */
const LEASE_LIFETIME = 24 * 3600 * 1000;

export const leaseLabels = (now: number): Labels => ({
  'containerd.io/gc.expire': new Date(now + LEASE_LIFETIME).toISOString(),
});
