/** Small images for a scripted registry: layers are any bytes under gzip, which do for the in-memory differ, or archives. */
import { createHash, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Platform } from '../../kernel/contracts/scope.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import type { Entry, ScriptedRegistry } from './registry.js';

export const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

export interface ImageOptions {
  readonly tag?: string;
  /** Uncompressed contents, base first. */
  readonly layers: readonly Buffer[];
  readonly platform?: Platform;
  /** What the configuration claims, where that is not true. */
  readonly diffIds?: readonly string[];
}

export interface ScriptedImage {
  readonly manifest: Entry;
  readonly config: Entry;
  readonly layers: readonly Entry[];
  /** Compressed. */
  readonly blobs: readonly Buffer[];
  readonly diffIds: readonly string[];
  readonly chainId: string;
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export function addImage(registry: ScriptedRegistry, options: ImageOptions): ScriptedImage {
  const { os, architecture, variant } = options.platform ?? hostPlatform();
  const blobs = options.layers.map((layer) => gzipSync(layer, { level: 1 }));
  const layers = blobs.map((blob) => registry.addBlob(blob, LAYER));
  const diffIds = options.diffIds ?? options.layers.map(sha256);
  const config = { os, architecture, variant, rootfs: { type: 'layers', diff_ids: diffIds } };
  const configEntry = registry.addBlob(Buffer.from(JSON.stringify(config)), OCI_CONFIG);
  const document = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: configEntry, layers };
  const manifest = registry.addManifest(document, OCI_MANIFEST, options.tag);
  return { manifest, config: configEntry, layers, blobs, diffIds, chainId: chainIds(diffIds).at(-1) ?? '' };
}

export function addIndex(
  registry: ScriptedRegistry,
  tag: string | undefined,
  entries: readonly (Entry & { readonly platform?: Platform })[],
): Entry {
  return registry.addManifest({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries }, OCI_INDEX, tag);
}

/** A tar archive of one file of random bytes. */
export function archiveOf(name: string, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        0', 148);
  header.write('ustar\u000000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((512 - (size % 512)) % 512);
  return Buffer.concat([header, randomBytes(size), padding, Buffer.alloc(1024)]);
}
