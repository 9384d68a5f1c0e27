/**
 * On whose behalf a call is made. Every namespaced contract takes a scope
 * first; the servers build it from the request's metadata.
 */
export interface Scope {
  /** Checked by `lib/identifier`: at most 76 characters, groups of letters and digits joined by `.`, `_` or `-`. */
  readonly namespace: string;
  /** A lease id: every object the call touches is added to it in the same transaction. */
  readonly lease?: string;
  /** Aborted when the caller has gone or its deadline passed. */
  readonly signal?: AbortSignal;
}

/** Key/value pairs; a key and its value together take at most 4096 bytes. */
export type Labels = Readonly<Record<string, string>>;

/** A moment as nanoseconds since the Unix epoch; exact, unlike `Date`. */
export type Nanos = bigint;

/** A protobuf Any: bare type URL (no `type.googleapis.com/`) and encoded bytes. */
export interface AnyMessage {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/**
 * Which fields an update replaces, in protobuf FieldMask paths (`labels`,
 * `labels.KEY`, `target`). Undefined or empty: each contract says what that means.
 */
export type UpdateMask = readonly string[];

/** The OCI content descriptor (image-spec, descriptor.md). `size` is in bytes, at most 2^53 - 1. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Labels;
  readonly platform?: Platform;
  readonly urls?: readonly string[];
  readonly artifactType?: string;
}

/** The platform object of an OCI image index (image-spec, image-index.md). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
}
