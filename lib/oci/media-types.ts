/** Media types of images (OCI image-spec, media-types.md; Docker image manifest v2 schema 2) and what each is. */

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';

export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const OCI_LAYER_GZIP = `${OCI_LAYER}+gzip`;
export const OCI_LAYER_ZSTD = `${OCI_LAYER}+zstd`;

const SCHEMA_1 = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];

export const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

const DOCKER_LAYERS = [
  DOCKER_LAYER,
  `${DOCKER_LAYER}.gzip`,
  `${DOCKER_LAYER}.zstd`,
  'application/vnd.docker.image.rootfs.foreign.diff.tar',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
];

/** containerd's checkpoint images carry these where others carry a configuration. */
const CHECKPOINT_CONFIGS = [
  'application/vnd.containerd.container.criu.checkpoint.criu.tar',
  'application/vnd.containerd.container.checkpoint.config.v1+proto',
];

/** The kinds of documents a registry serves under `/manifests/`. */
export const MANIFEST_TYPES: readonly string[] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/** `a/b+gzip+encrypted` is `a/b`. */
const base = (mediaType: string): string => mediaType.split('+', 1)[0] ?? '';

export const isIndex = (mediaType: string): boolean => mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
export const isManifest = (mediaType: string): boolean => mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST;
export const isSchema1 = (mediaType: string): boolean => SCHEMA_1.includes(mediaType);
/** A configuration that describes a root filesystem made of layers. */
export const isImageConfig = (mediaType: string): boolean => mediaType === OCI_CONFIG || mediaType === DOCKER_CONFIG;
export const isKnownConfig = (mediaType: string): boolean =>
  isImageConfig(mediaType) || CHECKPOINT_CONFIGS.includes(mediaType);
export const isLayer = (mediaType: string): boolean =>
  mediaType.startsWith('application/vnd.oci.image.layer.') || DOCKER_LAYERS.includes(base(mediaType));

/** A layer that registries are not given (image-spec, "Non-Distributable Layers"). */
export const isForeignLayer = (mediaType: string): boolean =>
  mediaType.includes('.rootfs.foreign.') || mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.');

/** containerd's name for the ingest of a descriptor, by which clients find the progress of a download. */
export function ingestRef({ mediaType, digest }: { readonly mediaType: string; readonly digest: string }): string {
  if (isManifest(mediaType)) return `manifest-${digest}`;
  if (isIndex(mediaType)) return `index-${digest}`;
  if (isLayer(mediaType)) return `layer-${digest}`;
  if (isKnownConfig(mediaType)) return `config-${digest}`;
  if (mediaType === 'application/vnd.in-toto+json') return `attestation-${digest}`;
  return `unknown-${digest}`;
}
