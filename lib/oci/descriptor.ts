/** Descriptors as JSON (OCI image-spec, descriptor.md), parsed from documents nobody vouches for. */
import { z } from 'zod';
import { isDigest } from '../digest.js';

const MAX_MEDIA_TYPE = 255;

const mediaTypeSchema = z
  .string()
  .max(MAX_MEDIA_TYPE)
  .regex(/^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$/, 'not a media type (RFC 6838)');

export const digestSchema = z.string().refine(isDigest, 'not a digest');

/** Bytes: an exact integer. 2^53 and above, fractions, strings and negatives are refused. */
const sizeSchema = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

/** Keys are the image's own, `__proto__` among them: kept apart from any object with a prototype. */
export const annotationsSchema = z
  .custom<Record<string, unknown>>((value) => typeof value === 'object' && value !== null && !Array.isArray(value))
  .transform((value, context): Readonly<Record<string, string>> => {
    const annotations: Record<string, string> = Object.create(null);
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') {
        context.addIssue({ code: 'custom', message: 'an annotation is not a string', path: [key.slice(0, 100)] });
        return z.NEVER;
      }
      annotations[key] = text;
    }
    return annotations;
  });

const platformSchema = z
  .object({
    os: z.string().max(100),
    architecture: z.string().max(100),
    variant: z.string().max(100).optional(),
    'os.version': z.string().max(255).optional(),
  })
  .transform(({ os, architecture, variant, 'os.version': osVersion }) => ({
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
  }));

/** Go writes absent lists and maps as null. */
const nullAsAbsent = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined);

export const descriptorSchema = z
  .object({
    mediaType: mediaTypeSchema,
    digest: digestSchema,
    size: sizeSchema,
    annotations: nullAsAbsent(annotationsSchema),
    platform: nullAsAbsent(platformSchema),
    urls: nullAsAbsent(z.array(z.string().max(4096)).max(64)),
    artifactType: nullAsAbsent(mediaTypeSchema),
  })
  .transform(({ mediaType, digest, size, ...rest }) => ({
    mediaType,
    digest,
    size,
    ...(rest.annotations === undefined ? {} : { annotations: rest.annotations }),
    ...(rest.platform === undefined ? {} : { platform: rest.platform }),
    ...(rest.urls === undefined ? {} : { urls: rest.urls }),
    ...(rest.artifactType === undefined ? {} : { artifactType: rest.artifactType }),
  }));

/** Assignable to the contract's Descriptor. */
export type ImageDescriptor = z.output<typeof descriptorSchema>;
