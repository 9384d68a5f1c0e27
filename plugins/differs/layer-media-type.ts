/** The media type of a layer of which only the blob is at hand. */
import { z } from 'zod';
import type { Content, ContentInfo } from '../../kernel/contracts/content.js';
import { OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';

/** On every manifest with layers: its first one. */
const FIRST_LAYER = 'containerd.io/gc.ref.content.l.0';

/** Bytes: more than any manifest that was pulled. */
const MOST = 8 << 20;

const withLayers = z.object({ layers: z.array(z.object({ mediaType: z.string(), digest: z.string() })) });

/**
 * What a manifest that is here says of it: it may have to go through stream processors. Without such a manifest it is
 * taken for one that is compressed as its own bytes show.
 */
export async function layerMediaType(content: Content, namespace: string, layer: string): Promise<string> {
  for await (const info of content.walk({ namespace }, [`labels.${JSON.stringify(FIRST_LAYER)}`])) {
    if (!Object.values(info.labels).includes(layer)) continue;
    const layers = await layersOf(content, namespace, info);
    const found = layers.find(({ digest }) => digest === layer);
    if (found) return found.mediaType;
  }
  return OCI_LAYER_GZIP;
}

/** None when it is no manifest. */
async function layersOf(content: Content, namespace: string, { digest, size }: ContentInfo) {
  if (size > MOST) return [];
  const reader = await content.reader({ namespace }, digest);
  try {
    const bytes = Buffer.alloc(size);
    const length = await reader.read(bytes, 0);
    return withLayers.safeParse(parsed(bytes.toString('utf8', 0, length))).data?.layers ?? [];
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
