/** Who refers to whom (OCI image-spec, manifest.md, `subject`; distribution spec, "Listing Referrers"). */
import { z } from 'zod';
import { invalidArgument } from '../../kernel/errors.js';
import { annotationsSchema, descriptorSchema, type ImageDescriptor } from './descriptor.js';
import { MAX_INDEX_ENTRIES, parseManifest } from './documents.js';
import { isImageConfig } from './media-types.js';

const subjectSchema = z.object({
  subject: descriptorSchema.nullish(),
  artifactType: z.string().max(255).nullish(),
  annotations: annotationsSchema.nullish(),
  config: z.object({ mediaType: z.string().max(255) }).nullish(),
});

/** A manifest with a subject, as the list of the subject's referrers describes it. */
export interface Referrer {
  readonly subject: string;
  readonly descriptor: ImageDescriptor;
}

/** Undefined for a manifest without a subject. The bytes have been parsed as a manifest before. */
export function referrerOf(
  { mediaType, digest, size }: Omit<ImageDescriptor, 'urls'>,
  bytes: Uint8Array,
): Referrer | undefined {
  const parsed = subjectSchema.safeParse(JSON.parse(Buffer.from(bytes).toString()));
  if (!parsed.success) throw invalidArgument(`manifest "${digest}" has a malformed subject`);
  const { subject, annotations, config } = parsed.data;
  if (!subject) return undefined;
  const type = parsed.data.artifactType || (config && !isImageConfig(config.mediaType) ? config.mediaType : undefined);
  return {
    subject: subject.digest,
    descriptor: {
      mediaType,
      digest,
      size,
      ...(annotations ? { annotations } : {}),
      ...(type ? { artifactType: type } : {}),
    },
  };
}

/** The entries of a list of referrers. INVALID_ARGUMENT. */
export function parseReferrers(source: { mediaType: string; digest: string }, bytes: Uint8Array): ImageDescriptor[] {
  const document = parseManifest(source, bytes);
  return 'manifests' in document ? document.manifests.slice(0, MAX_INDEX_ENTRIES) : [];
}
