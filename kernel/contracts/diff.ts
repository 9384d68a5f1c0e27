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
  /**
   * Of a detached layer: mounts that show its parents merged. Asked for at most once, when
   * everything else of the layer is there and directories that it only implies must get the
   * attributes they have in the parents; what it throws, `end` throws. Without it such a
   * layer is `unresolved`.
   */
  readonly parents?: () => Promise<readonly Mount[]>;
  /** Compressed bytes to come, when known: spreads layers over the workers. Not checked. */
  readonly size?: number;
  /** Digest of the compressed bytes, when known: `end` refuses others with FAILED_PRECONDITION. */
  readonly digest?: string;
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
   * Hands over compressed bytes, of any length; resolves when more can be taken
   * (back-pressure), and the chunk may be reused then. Throws what went wrong
   * with the layer meanwhile, if anything did.
   */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * No more bytes. INVALID_ARGUMENT, naming the entry, for a broken archive;
   * RESOURCE_EXHAUSTED for one that breaks a limit and for a full disk.
   */
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

/** How to apply a blob: what its descriptor does not say. */
export type ApplyBlob = Pick<ApplyLayer, 'mounts' | 'sync' | 'payloads' | 'signal'>;

/** The service in front of the differs, asked in configured order. */
export interface Diff {
  open(layer: ApplyLayer): Promise<LayerSink>;
  /** Reads the blob from content; verifies its digest; resolves to the descriptor of the uncompressed layer. */
  apply(scope: Scope, blob: Descriptor, layer: ApplyBlob): Promise<Descriptor>;
  compare(scope: Scope, trees: CompareTrees): Promise<Descriptor>;
}

export const Diff = one<Diff>('diff@1');
