/** Media types of layers (OCI image-spec, layer.md; Docker image manifest v2, schema 2). */
import { unimplemented } from '../../kernel/errors.js';
import { OCI_LAYER } from '../../lib/oci/media-types.js';

/**
 * `plain`: a tar archive as it is. `detect`: compressed as its first bytes
 * show, since containerd reads it so whatever the media type claims.
 */
export type Compression = 'plain' | 'detect';

const OCI = [OCI_LAYER, 'application/vnd.oci.image.layer.nondistributable.v1.tar'];
const DOCKER = ['application/vnd.docker.image.rootfs.diff.tar', 'application/vnd.docker.image.rootfs.foreign.diff.tar'];

const KNOWN: ReadonlyMap<string, Compression> = new Map([
  ...OCI.map((type) => [type, 'plain'] as const),
  ...OCI.flatMap((type) => [`${type}+gzip`, `${type}+zstd`].map((compressed) => [compressed, 'detect'] as const)),
  // Old Docker clients pushed compressed layers under the plain type.
  ...DOCKER.flatMap((type) => [type, `${type}.gzip`, `${type}.zstd`].map((any) => [any, 'detect'] as const)),
]);

/** How a layer of that media type is compressed; UNIMPLEMENTED for any other media type. */
export function compressionOf(mediaType: string): Compression {
  const compression = KNOWN.get(mediaType);
  if (compression === undefined) throw unimplemented(`media type "${mediaType}" is not one of a layer known here`);
  return compression;
}
