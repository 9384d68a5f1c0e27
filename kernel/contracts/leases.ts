/**
 * Leases are roots of collection: what a lease holds is kept until the lease
 * is deleted or expires (label `containerd.io/gc.expire`, RFC 3339). With
 * `containerd.io/gc.flat` it holds only the named resources, not what they refer to.
 *
 * An answered call survives a power cut, but for creating and deleting a lease that expires: it does with the next call
 * that does, or a second later. Whatever is held by such a lease and survives, its lease survives as well.
 */
import { one } from '../token.js';
import type { Labels, Nanos, Scope } from './scope.js';

export interface Lease {
  readonly id: string;
  readonly createdAt: Nanos;
  readonly labels: Labels;
}

export interface LeaseResource {
  /** Exactly `content`, `ingests`, `images` or `snapshots/<snapshotter>`; others UNIMPLEMENTED. */
  readonly type: string;
  readonly id: string;
}

export interface Leases {
  /** An empty id gets a random one. ALREADY_EXISTS. */
  create(scope: Scope, lease: { readonly id?: string; readonly labels?: Labels }): Promise<Lease>;
  /** `sync`: resolve only after a whole collection. NOT_FOUND. */
  delete(scope: Scope, id: string, options?: { readonly sync?: boolean }): Promise<void>;
  list(scope: Scope, filters?: readonly string[]): Promise<readonly Lease[]>;
  addResource(scope: Scope, id: string, resource: LeaseResource): Promise<void>;
  deleteResource(scope: Scope, id: string, resource: LeaseResource): Promise<void>;
  resources(scope: Scope, id: string): Promise<readonly LeaseResource[]>;
}

export const Leases = one<Leases>('leases@1');

export interface CollectionStats {
  /** Milliseconds. */
  readonly duration: number;
  /** Longest time writers were held, milliseconds. */
  readonly longestPause: number;
  readonly contentRemoved: number;
  readonly snapshotsRemoved: number;
}

/** The collector: mark and sweep over everything the metadata database knows. */
export interface GarbageCollector {
  /** Runs a whole collection that starts after this call. */
  collect(): Promise<CollectionStats>;
}

export const GarbageCollector = one<GarbageCollector>('garbage-collector@1');
