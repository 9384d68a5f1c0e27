/** From an image's name to what a container needs of it, through the client alone. */
import type { Client, Descriptor as WireDescriptor } from '../../client/index.js';
import { dataLoss, failedPrecondition, invalidArgument, notFound } from '../../kernel/errors.js';
import { digestOf, parseDigest } from '../../lib/digest.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import type { ImageDescriptor } from '../../lib/oci/descriptor.js';
import { parseConfig, parseManifest } from '../../lib/oci/documents.js';
import { type ImageProcess, parseImageProcess } from '../../lib/oci/image-process.js';
import { formatPlatform, hostPlatform, type ImagePlatform, suitability } from '../../lib/oci/platform.js';

/** Largest manifest or configuration that is read, in bytes. */
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;
/** Indexes may point at indexes, but not without end. */
const MAX_INDEX_DEPTH = 8;

export interface RunnableImage {
  readonly name: string;
  readonly configDigest: string;
  readonly layers: readonly ImageDescriptor[];
  readonly diffIds: readonly string[];
  /** Name of the snapshot with all layers; undefined for an image without any. */
  readonly chainId: string | undefined;
  readonly process: ImageProcess;
}

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

async function readDocument(client: Client, { digest, size }: Blob): Promise<Uint8Array> {
  if (size > MAX_DOCUMENT_BYTES) throw invalidArgument(`document "${digest}" is of ${size} bytes, which is too much`);
  const chunks: Uint8Array[] = [];
  for await (const { data } of client.content.read({ digest })) chunks.push(data);
  const bytes = Buffer.concat(chunks);
  if (digestOf(bytes, parseDigest(digest).algorithm) !== digest) {
    throw dataLoss(`content "${digest}" has other bytes than its name says`, { remedy: 'pull the image again' });
  }
  return bytes;
}

async function findManifest(client: Client, target: Blob, platform: ImagePlatform, depth = 0) {
  const document = parseManifest(target, await readDocument(client, target));
  if ('layers' in document) return document;
  if (depth >= MAX_INDEX_DEPTH) throw invalidArgument(`index "${target.digest}" is nested too deeply`);
  const ranked = document.manifests
    .map((entry) => ({ entry, rank: entry.platform ? suitability(platform, entry.platform) : 0 }))
    .filter((candidate): candidate is typeof candidate & { rank: number } => candidate.rank !== undefined)
    .toSorted((a, b) => a.rank - b.rank);
  const best = ranked[0]?.entry;
  if (!best) throw notFound(`"${target.digest}" has no image for ${formatPlatform(platform)}`);
  return findManifest(client, best, platform, depth + 1);
}

/** NOT_FOUND, with the remedy, when the image was never pulled. */
export async function findImage(client: Client, name: string, platform = hostPlatform()): Promise<RunnableImage> {
  const { image } = await client.images.get({ name });
  const target = blobOf(name, image?.target);
  const { config, layers } = await findManifest(client, target, platform);
  const bytes = await readDocument(client, config);
  const { diffIds } = parseConfig(config, bytes);
  if (diffIds.length !== layers.length) {
    throw failedPrecondition(`image "${name}" has ${layers.length} layers but ${diffIds.length} diff ids`);
  }
  return {
    name,
    configDigest: config.digest,
    layers,
    diffIds,
    chainId: chainIds(diffIds).at(-1),
    process: parseImageProcess(config.digest, bytes),
  };
}

function blobOf(name: string, target: WireDescriptor | undefined): Blob {
  if (!target) throw failedPrecondition(`image "${name}" has no target`);
  return { mediaType: target.mediaType, digest: target.digest, size: Number(target.size) };
}
