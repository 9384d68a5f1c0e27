/**
 * The documents of an image, parsed from bytes that nobody vouches for:
 * manifests and indexes (OCI image-spec, manifest.md and image-index.md; Docker
 * schema 2) and configurations (config.md). All functions throw
 * INVALID_ARGUMENT and never a parser's own error.
 *
 * A document must be of exactly one kind, the one its descriptor says: with
 * both `layers` and `manifests` one byte string could mean two images to two
 * readers (CVE-2021-41190).
 */
import { z } from 'zod';
import { invalidArgument } from '../../kernel/errors.js';
import { annotationsSchema, descriptorSchema, digestSchema, type ImageDescriptor } from './descriptor.js';
import { isIndex, isManifest, isSchema1 } from './media-types.js';

/** Layers of one manifest; the kernel stacks no more than 500 anyway. */
export const MAX_LAYERS = 1024;
/** Entries of one index. */
export const MAX_INDEX_ENTRIES = 4096;

export interface ImageIndex {
  readonly manifests: readonly ImageDescriptor[];
}

export interface ImageManifest {
  readonly config: ImageDescriptor;
  readonly layers: readonly ImageDescriptor[];
}

/** What unpacking needs of a configuration. */
export interface ImageConfig {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
  /** Digests of the uncompressed layers, base first. */
  readonly diffIds: readonly string[];
}

const indexSchema = z.object({
  manifests: z.array(descriptorSchema).max(MAX_INDEX_ENTRIES),
  annotations: annotationsSchema.nullish(),
});

const manifestSchema = z.object({
  config: descriptorSchema,
  layers: z.array(descriptorSchema).max(MAX_LAYERS),
  annotations: annotationsSchema.nullish(),
});

const configSchema = z.object({
  os: z.string().max(100).default(''),
  architecture: z.string().max(100).default(''),
  variant: z.string().max(100).nullish(),
  rootfs: z.object({
    type: z.string().max(100).default('layers'),
    diff_ids: z
      .array(digestSchema)
      .max(MAX_LAYERS)
      .nullish()
      .transform((ids) => ids ?? []),
  }),
});

/** A document that is being read, for messages: its digest or the reference that led to it. */
interface Source {
  readonly mediaType: string;
  readonly digest: string;
}

const malformed = (source: Source, why: string) =>
  invalidArgument(`document "${source.digest}" (${source.mediaType}) is malformed: ${why}`);

type JsonObject = Readonly<Record<string, unknown>>;

function parseObject(source: Source, bytes: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError)) throw error;
    throw malformed(source, 'it is not JSON in UTF-8');
  }
  const result = z.custom<JsonObject>((seen) => typeof seen === 'object' && seen !== null && !Array.isArray(seen));
  const object = result.safeParse(value);
  if (!object.success) throw malformed(source, 'it is not a JSON object');
  return object.data;
}

function match<T extends z.ZodType>(source: Source, schema: T, value: unknown): z.output<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw malformed(source, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected'}`.slice(0, 200));
}

/** Keys that belong to the other kinds of documents. Other readers ignore letter case, so this check does too. */
const FOREIGN_KEYS = {
  index: ['config', 'layers', 'fslayers', 'history', 'signatures'],
  manifest: ['manifests', 'fslayers', 'history', 'signatures'],
} as const;

function checkKind(source: Source, document: JsonObject, kind: keyof typeof FOREIGN_KEYS): void {
  const foreign = FOREIGN_KEYS[kind];
  const found = Object.keys(document).find((key) => foreign.some((name) => name === key.toLowerCase()));
  if (found !== undefined) throw malformed(source, `key "${found}" does not belong into an ${kind} of an image`);
  const own: unknown = document.mediaType;
  if (own !== undefined && own !== '' && own !== source.mediaType) {
    throw malformed(source, `it says of itself that it is ${JSON.stringify(own).slice(0, 100)}`);
  }
  if (document.schemaVersion !== 2) throw malformed(source, 'its schemaVersion is not 2');
}

/** An index or a manifest, as the descriptor's media type says. INVALID_ARGUMENT. */
export function parseManifest(source: Source, bytes: Uint8Array): ImageIndex | ImageManifest {
  if (isSchema1(source.mediaType)) {
    throw invalidArgument(
      `manifest "${source.digest}" is of Docker schema 1, which cannot be pulled; push the image again with a current client`,
    );
  }
  const document = parseObject(source, bytes);
  if (isIndex(source.mediaType)) {
    checkKind(source, document, 'index');
    return { manifests: match(source, indexSchema, document).manifests };
  }
  if (!isManifest(source.mediaType)) throw malformed(source, 'its media type is not that of a manifest or an index');
  checkKind(source, document, 'manifest');
  const { config, layers } = match(source, manifestSchema, document);
  return { config, layers };
}

/** The configuration of an image made of layers. INVALID_ARGUMENT. */
export function parseConfig(source: Source, bytes: Uint8Array): ImageConfig {
  const { os, architecture, variant, rootfs } = match(source, configSchema, parseObject(source, bytes));
  if (rootfs.type !== 'layers') throw malformed(source, `rootfs.type "${rootfs.type}" is not "layers"`);
  return { os, architecture, variant: variant ?? undefined, diffIds: rootfs.diff_ids };
}
