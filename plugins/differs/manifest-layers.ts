/** What the manifests that are here say of a layer of which only the digest is at hand. */
import { z } from 'zod';
import type { Content, ContentInfo } from '../../kernel/contracts/content.js';
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';

/** On every manifest with layers: its first one. */
const FIRST_LAYER = 'containerd.io/gc.ref.content.l.0';

/** Bytes: more than any manifest that was pulled. */
const MOST = 8 << 20;

/** Made when a manifest is read, which a start does without. */
const withLayers = () =>
  z.object({
    layers: z.array(z.object({ mediaType: z.string(), digest: z.string(), size: z.int().min(0).default(0) })),
  });

/**
 * The media type of the layer: it may have to go through stream processors. Without a manifest that has it, it is
 * taken for one that is compressed as its own bytes show.
 */
export async function layerMediaType(content: Content, namespace: string, layer: string): Promise<string> {
  for await (const info of manifestsWith(content, namespace, layer)) {
    const layers = await layersOf(content, namespace, info);
    const found = layers.find(({ digest }) => digest === layer);
    if (found) return found.mediaType;
  }
  return OCI_LAYER_GZIP;
}

/** The layers on top of that one, lowest first, in the manifest with it that changed last: the one being pulled. */
export async function layersAbove(content: Content, namespace: string, layer: string): Promise<readonly Descriptor[]> {
  let latest: ContentInfo | undefined;
  for await (const info of manifestsWith(content, namespace, layer))
    if (latest === undefined || info.updatedAt > latest.updatedAt) latest = info;
  const layers = latest === undefined ? [] : await layersOf(content, namespace, latest);
  const at = layers.findIndex(({ digest }) => digest === layer);
  return at < 0 ? [] : layers.slice(at + 1);
}

async function* manifestsWith(content: Content, namespace: string, layer: string): AsyncGenerator<ContentInfo> {
  for await (const info of content.walk({ namespace }, [`labels.${JSON.stringify(FIRST_LAYER)}`]))
    if (Object.values(info.labels).includes(layer)) yield info;
}

/** None when it is no manifest. */
async function layersOf(content: Content, namespace: string, { digest, size }: ContentInfo) {
  if (size > MOST) return [];
  const reader = await content.reader({ namespace }, digest);
  try {
    const bytes = Buffer.alloc(size);
    const length = await reader.read(bytes, 0);
    return withLayers().safeParse(parsed(bytes.toString('utf8', 0, length))).data?.layers ?? [];
  } finally {
    await reader.close();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
    return undefined;
  }
}
