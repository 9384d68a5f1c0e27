/** What an image is made of, and how much of it is here, through the client alone. */
import type { Client, Descriptor } from '../../client/index.js';
import { hasCode, invalidArgument } from '../../kernel/errors.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import { parseConfig, parseManifest } from '../../lib/oci/documents.js';
import { isImageConfig, isIndex, isManifest } from '../../lib/oci/media-types.js';
import { formatPlatform, type ImagePlatform } from '../../lib/oci/platform.js';

/** Bytes of a manifest or a configuration. */
const MAX_DOCUMENT = 8 * 1024 * 1024;
const MAX_DEPTH = 8;

interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: ImagePlatform;
}

export interface ContentNode {
  readonly mediaType: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  /** Whether the daemon has it. */
  readonly present: boolean;
  readonly platform?: string;
  /** Of a manifest: the name of the snapshot that its layers make. */
  readonly chainId?: string;
  readonly children: readonly ContentNode[];
}

async function readDocument(client: Client, { digest, size }: Blob): Promise<Buffer | undefined> {
  if (size > MAX_DOCUMENT) throw invalidArgument(`document "${digest}" has ${size} bytes, which is too much`);
  const chunks: Uint8Array[] = [];
  try {
    for await (const { data } of client.content.read({ digest })) chunks.push(data);
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
  return Buffer.concat(chunks);
}

async function isPresent(client: Client, digest: string): Promise<boolean> {
  try {
    await client.content.info({ digest });
    return true;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

const describe = ({ mediaType, digest, size, platform }: Blob) => ({
  mediaType,
  digest,
  size,
  ...(platform ? { platform: formatPlatform(platform) } : {}),
});

async function readTree(client: Client, blob: Blob, depth: number): Promise<ContentNode> {
  const node = describe(blob);
  if (!isIndex(blob.mediaType) && !isManifest(blob.mediaType)) {
    return { ...node, present: await isPresent(client, blob.digest), children: [] };
  }
  const bytes = depth > MAX_DEPTH ? undefined : await readDocument(client, blob);
  if (!bytes) return { ...node, present: false, children: [] };
  const document = parseManifest(blob, bytes);
  if ('manifests' in document) {
    const children = await Promise.all(document.manifests.map((child) => readTree(client, child, depth + 1)));
    return { ...node, present: true, children };
  }
  const parts = [document.config, ...document.layers];
  const children = await Promise.all(parts.map((child) => readTree(client, child, depth + 1)));
  return { ...node, ...(await fromConfig(client, document.config)), present: true, children };
}

/** Platform and chain ID, as far as the configuration is here and tells them. */
async function fromConfig(client: Client, config: Blob): Promise<{ platform?: string; chainId?: string }> {
  const bytes = isImageConfig(config.mediaType) ? await readDocument(client, config) : undefined;
  if (!bytes) return {};
  const { os, architecture, variant, diffIds } = parseConfig(config, bytes);
  const platform = formatPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
  return { platform, chainId: chainIds(diffIds).at(-1) ?? '' };
}

/** The tree behind an image's target. */
export function readImage(client: Client, target: Descriptor | undefined): Promise<ContentNode> {
  if (!target) throw invalidArgument('the image has no target');
  return readTree(client, { ...target, size: Number(target.size) }, 0);
}

/** Every node once, the root first. */
export function flatten(root: ContentNode): readonly ContentNode[] {
  const nodes = new Map<string, ContentNode>();
  const visit = (node: ContentNode): void => {
    if (nodes.has(node.digest)) return;
    nodes.set(node.digest, node);
    for (const child of node.children) visit(child);
  };
  visit(root);
  return [...nodes.values()];
}

/** Manifests that are here, with all that is here of them. */
export const manifestsOf = (root: ContentNode): readonly ContentNode[] =>
  flatten(root).filter(({ mediaType, present }) => present && isManifest(mediaType));

/** Bytes of everything that is here. */
export const sizeOf = (root: ContentNode): number =>
  flatten(root).reduce((sum, { present, size }) => sum + (present ? size : 0), 0);

/** Platforms whose manifest is here. */
export const platformsOf = (root: ContentNode): readonly string[] => [
  ...new Set(manifestsOf(root).flatMap(({ platform }) => platform ?? [])),
];
