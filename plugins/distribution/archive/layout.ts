/** What the files of an archive are: an OCI layout, or what `docker save` wrote, made into one. */
import { z } from 'zod';
import type { Content } from '../../../kernel/contracts/content.js';
import type { Descriptor, Scope } from '../../../kernel/contracts/scope.js';
import { hasCode, invalidArgument, notFound } from '../../../kernel/errors.js';
import { digestOf } from '../../../lib/digest.js';
import { DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST, ingestRef, OCI_INDEX } from '../../../lib/oci/media-types.js';
import { completeReference, formatReference } from '../../../lib/reference/reference.js';
import { compressLayer } from './compress.js';
import type { Taken, TakenFile } from './intake.js';
import { IMAGE_NAME, REF_NAME, tagOf } from './names.js';

const layoutSchema = z.object({ imageLayoutVersion: z.string() });

const dockerSchema = z
  .array(
    z.object({
      Config: z.string().max(4096),
      RepoTags: z.array(z.string().max(1024)).max(1024).nullish(),
      Layers: z.array(z.string().max(4096)).max(1024).nullish(),
    }),
  )
  .max(1024);

export interface LayoutServices {
  readonly content: Content;
  readonly scope: Scope & { readonly lease: string };
  readonly compress: boolean;
}

/** The index of the archive, in content. INVALID_ARGUMENT when it is neither kind. */
export async function indexOf(services: LayoutServices, taken: Taken): Promise<Descriptor> {
  const layout = taken.documents.get('oci-layout');
  if (layout) {
    const { imageLayoutVersion } = parse(layoutSchema, 'oci-layout', layout);
    if (imageLayoutVersion !== '1.0.0') {
      throw invalidArgument(`the archive is an OCI layout of version "${imageLayoutVersion.slice(0, 20)}"`);
    }
    const index = taken.files.get('index.json');
    if (!index) throw invalidArgument('the archive is an OCI layout without index.json');
    return { mediaType: OCI_INDEX, digest: index.digest, size: index.size };
  }
  const manifests = taken.documents.get('manifest.json');
  if (!manifests) throw invalidArgument('the archive is neither an OCI layout nor a Docker archive');
  return fromDocker(services, taken, parse(dockerSchema, 'manifest.json', manifests));
}

function parse<T extends z.ZodType>(schema: T, name: string, bytes: Buffer): z.output<T> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalidArgument(
    `"${name}" of the archive is malformed: ${result.error.issues[0]?.message ?? ''}`.slice(0, 300),
  );
}

async function fromDocker(
  services: LayoutServices,
  { files }: Taken,
  images: z.output<typeof dockerSchema>,
): Promise<Descriptor> {
  const find = (name: string): TakenFile => {
    const file = files.get(name.replace(/^\.?\//, ''));
    if (file) return file;
    throw notFound(`the archive has no file "${name.slice(0, 200)}"`);
  };
  const entries: Descriptor[] = [];
  for (const { Config, RepoTags, Layers } of images) {
    const config = find(Config);
    const layers: Descriptor[] = [];
    for (const name of Layers ?? []) layers.push(await layerOf(services, find(name)));
    const document = {
      schemaVersion: 2,
      mediaType: DOCKER_MANIFEST,
      config: { mediaType: DOCKER_CONFIG, digest: config.digest, size: config.size },
      layers,
    };
    const manifest = await write(services, DOCKER_MANIFEST, document);
    const names = (RepoTags ?? []).map((tag) => formatReference(completeReference(tag)));
    for (const name of names) {
      entries.push({ ...manifest, annotations: { [IMAGE_NAME]: name, [REF_NAME]: tagOf(name) } });
    }
    if (names.length === 0) entries.push(manifest);
  }
  return write(services, OCI_INDEX, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries });
}

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

async function layerOf(services: LayoutServices, { digest, size, head }: TakenFile): Promise<Descriptor> {
  if (head.subarray(0, 2).equals(GZIP)) return { mediaType: `${DOCKER_LAYER}.gzip`, digest, size };
  if (head.subarray(0, 4).equals(ZSTD)) return { mediaType: `${DOCKER_LAYER}.zstd`, digest, size };
  const plain = { mediaType: DOCKER_LAYER, digest, size };
  return services.compress ? compressLayer(services, plain) : plain;
}

/** Puts a document that is made here into content. */
async function write({ content, scope }: LayoutServices, mediaType: string, document: unknown): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(document));
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  const expected = { size: bytes.length, expected: descriptor.digest };
  try {
    const ref = `${ingestRef(descriptor)}-${scope.lease}`;
    const writer = await content.writer(scope, { ref, total: bytes.length, expected: descriptor.digest });
    await writer.truncate(0);
    await writer.write(bytes);
    await writer.commit(expected);
  } catch (error) {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  }
  return descriptor;
}
