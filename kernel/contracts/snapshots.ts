/**
 * Snapshots: layered filesystem states.
 *
 * Vocabulary. An *active* snapshot is writable and named by a *key*; a *view*
 * is read-only and named by a key; a *committed* snapshot is immutable, named
 * by a *name*, and may be the parent of others. Keys and names share one space.
 *
 *     prepare(key, parent) -> active --commit(name)--> committed
 *     view(key, parent)    -> view                     (both) --remove--> (none)
 *
 * A snapshotter returns mounts; it never performs them. Nothing is visible of
 * a call that failed.
 *
 * Two contracts: {@link Snapshotter} is the backend a plugin author writes;
 * {@link Snapshots} is what everybody calls: namespaced, labelled, collected.
 */
import { many, one } from '../token.js';
import type { Labels, Nanos, Scope, UpdateMask } from './scope.js';

/** A mount as mount(8) understands it; `target` is relative to where the whole set is mounted. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

export type SnapshotKind = 'view' | 'active' | 'committed';

export interface SnapshotInfo {
  readonly kind: SnapshotKind;
  readonly name: string;
  /** Empty for a base. */
  readonly parent: string;
  readonly createdAt: Nanos;
  readonly updatedAt: Nanos;
  readonly labels: Labels;
}

export interface Usage {
  readonly inodes: number;
  /** Bytes this snapshot takes on top of its parent. */
  readonly size: number;
}

export interface CommitSnapshot {
  readonly labels?: Labels;
  /**
   * Rebase: the committed snapshot gets this parent instead of the one it was
   * prepared on, which must have been none. Only with capability `rebase`.
   */
  readonly parent?: string;
  /** What `usage` said of it, if nothing but attributes of its files changed since: it need not be measured again. */
  readonly usage?: Usage;
}

export interface PrepareSnapshot {
  /**
   * For whoever has something of its own to flush meanwhile: called, before `prepare` resolves, with what resolves once
   * the snapshot survives a power cut. A backend that does not call it resolves no sooner than that.
   */
  readonly onDisk?: (flushed: Promise<void>) => void;
}

export interface ViewSnapshot {
  /** False for whoever only looks for a moment: a power cut may take the view, and it is there sooner. Default: true. */
  readonly lasting?: boolean;
}

/** A backend. Labels it receives all start with `containerd.io/snapshot/`, or are `containerd.io/snapshot.ref`. */
export interface Snapshotter {
  /** What it can beyond the basics, for example `rebase`, `remap-ids`. */
  readonly capabilities: readonly string[];
  /**
   * A directory on the filesystem of its overlay upper directories, beside the one that holds them: trees are made there
   * and moved into snapshots. Whatever is in it when the daemon starts is left over.
   */
  readonly staging?: string;
  /** NOT_FOUND. */
  stat(key: string): Promise<SnapshotInfo>;
  /** Mask paths `labels`, `labels.KEY` (empty value deletes); others INVALID_ARGUMENT. No mask: all labels replaced. */
  update(key: string, labels: Labels, mask?: UpdateMask): Promise<SnapshotInfo>;
  /** NOT_FOUND. Of an active snapshot: measured now. */
  usage(key: string): Promise<Usage>;
  /** Of an active snapshot or view. NOT_FOUND; FAILED_PRECONDITION for a committed one. */
  mounts(key: string): Promise<readonly Mount[]>;
  /** ALREADY_EXISTS; NOT_FOUND (parent); INVALID_ARGUMENT when the parent is not committed. */
  prepare(key: string, parent: string, labels?: Labels, options?: PrepareSnapshot): Promise<readonly Mount[]>;
  /** As `prepare`, read-only. */
  view(key: string, parent: string, labels?: Labels, options?: ViewSnapshot): Promise<readonly Mount[]>;
  /** ALREADY_EXISTS (name); NOT_FOUND (key); FAILED_PRECONDITION when `key` is not active. */
  commit(name: string, key: string, options?: CommitSnapshot): Promise<void>;
  /** NOT_FOUND; FAILED_PRECONDITION while a child exists. */
  remove(key: string): Promise<void>;
  walk(): AsyncIterable<SnapshotInfo>;
  /** Frees disk space of removed snapshots; may run at any time beside other calls. */
  cleanup(): Promise<void>;
  /**
   * Names of committed snapshots whose files were not known to be on disk when the machine
   * went down, parents first. A backend that flushes before it commits needs neither this nor `rebuild`.
   */
  unsynced?(): readonly string[];
  /** Names of committed snapshots whose files are not known to be on disk now, those of `unsynced` among them. */
  unflushed?(): readonly string[];
  /** Makes the files of one of them again: `fill` unpacks its layer into the mounts it is given. */
  rebuild?(name: string, fill: (mounts: readonly Mount[]) => Promise<void>): Promise<void>;
}

/** Backends by wire id: `overlayfs`, `native`, `btrfs`, ... */
export const Snapshotters = many<Snapshotter>('snapshotter@1');

/** INVALID_ARGUMENT "snapshotter not loaded" for an unknown snapshotter, in every call. */
export interface Snapshots {
  stat(scope: Scope, snapshotter: string, key: string): Promise<SnapshotInfo>;
  update(scope: Scope, snapshotter: string, key: string, labels: Labels, mask?: UpdateMask): Promise<SnapshotInfo>;
  usage(scope: Scope, snapshotter: string, key: string): Promise<Usage>;
  mounts(scope: Scope, snapshotter: string, key: string): Promise<readonly Mount[]>;
  prepare(scope: Scope, snapshotter: string, key: string, parent: string, labels?: Labels): Promise<readonly Mount[]>;
  view(
    scope: Scope,
    snapshotter: string,
    key: string,
    parent: string,
    labels?: Labels,
    options?: ViewSnapshot,
  ): Promise<readonly Mount[]>;
  commit(scope: Scope, snapshotter: string, name: string, key: string, options?: CommitSnapshot): Promise<void>;
  remove(scope: Scope, snapshotter: string, key: string): Promise<void>;
  walk(scope: Scope, snapshotter: string, filters?: readonly string[]): AsyncIterable<SnapshotInfo>;
  cleanup(scope: Scope, snapshotter: string): Promise<void>;
  /** The wire ids of the snapshotters that run, the default one first. */
  names(): readonly string[];
  /** What the backend advertised, for example `rebase`. */
  capabilities(snapshotter: string): readonly string[];
}

export const Snapshots = one<Snapshots>('snapshots@1');

/** A committed snapshot that a power cut may have damaged. */
export interface DoubtfulSnapshot {
  readonly namespace: string;
  readonly snapshotter: string;
  readonly name: string;
  /** Empty for a base. */
  readonly parent: string;
  readonly labels: Labels;
}

/**
 * What was committed but not yet on disk when the machine went down. Whatever
 * is asked of snapshots on top of it waits until {@link settled}.
 */
export interface SnapshotDoubts {
  /** Parents first. */
  list(): readonly DoubtfulSnapshot[];
  /** Makes its files again: `fill` unpacks its layer into the mounts it is given. */
  rebuild(snapshot: DoubtfulSnapshot, fill: (mounts: readonly Mount[]) => Promise<void>): Promise<void>;
  /** All that could be made again has been: what waits goes on. */
  settled(): void;
}

export const SnapshotDoubts = one<SnapshotDoubts>('snapshot-doubts@1');
