/**
 * Diff: from layer blobs to filesystem trees and back.
 *
 * A *layer* is a tar archive, maybe compressed (OCI image-spec, layer.md). Its
 * *diffID* is the digest of the uncompressed archive. Layers are hostile
 * input: nothing outside the target tree is ever touched.
 */
import { many, one } from '../token.js';
import type { AnyMessage, Descriptor, Labels, Nanos, Scope } from './scope.js';
import type { Mount } from './snapshots.js';

export interface ApplyLayer {
  /** The media type decides the decompression. */
  readonly mediaType: string;
  /** Where to unpack: what `prepare` returned. */
  readonly mounts: readonly Mount[];
  /**
   * The snapshot was prepared without its parents (to be rebased): write whiteouts in the
   * overlay form although the mounts are a plain bind. `unresolved` of the result then
   * says whether the layer could not do without its parents.
   */
  readonly detached?: boolean;
  /** Flush the files to disk before resolving. */
  readonly sync?: boolean;
  /** Opaque messages for stream processors, by their id. */
  readonly payloads?: Readonly<Record<string, AnyMessage>>;
  readonly signal?: AbortSignal;
}

export interface AppliedLayer {
  /** Digest of the uncompressed archive, trailing bytes included. */
  readonly diffId: string;
  /** Bytes of the uncompressed archive. */
  readonly size: number;
  /** True when a detached layer refers to its parents: discard it and apply it again on them. */
  readonly unresolved: boolean;
}

/** A layer being unpacked while its bytes still arrive. Calls must not overlap. */
export interface LayerSink {
  /**
   * Hands over compressed bytes; resolves when more can be taken (back-pressure).
   * The chunk may be reused at once when it is not a SharedArrayBuffer view; a
   * shared one may be reused after `end`.
   */
  write(chunk: Uint8Array): Promise<void>;
  /** No more bytes. INVALID_ARGUMENT for an archive that is broken or breaks a limit. */
  end(): Promise<AppliedLayer>;
  /** Stops and releases everything; the target tree is left half written. Idempotent. */
  abort(): Promise<void>;
}

export interface CompareTrees {
  readonly lower: readonly Mount[];
  readonly upper: readonly Mount[];
  readonly mediaType?: string;
  /** Ingest ref to use; random when absent. */
  readonly ref?: string;
  readonly labels?: Labels;
  /** Clamps every time in the archive; makes the result reproducible. */
  readonly sourceDateEpoch?: Nanos;
}

/** A backend. UNIMPLEMENTED for a media type that is not its own: the next differ is asked. */
export interface Differ {
  open(layer: ApplyLayer): Promise<LayerSink>;
  /** Writes the difference as a layer and commits it to content. */
  compare(scope: Scope, trees: CompareTrees): Promise<Descriptor>;
}

/** Backends by wire id: `walking`. */
export const Differs = many<Differ>('differ@1');

/** The service in front of the differs, asked in configured order. */
export interface Diff {
  open(layer: ApplyLayer): Promise<LayerSink>;
  /** Reads the blob from content; verifies its digest; resolves to the descriptor of the uncompressed layer. */
  apply(scope: Scope, blob: Descriptor, layer: Omit<ApplyLayer, 'mediaType' | 'detached'>): Promise<Descriptor>;
  compare(scope: Scope, trees: CompareTrees): Promise<Descriptor>;
}

export const Diff = one<Diff>('diff@1');
