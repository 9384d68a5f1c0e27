/**
 * Archives: images as tar files, into and out of content.
 *
 * Vocabulary. An *OCI archive* is the directory of an OCI image layout
 * (image-spec, image-layout.md) in a tar file; a *Docker archive* is what
 * `docker save` writes, described by its `manifest.json`. An export is both at
 * once; an import takes either, compressed or not.
 *
 * Names. The index of an archive has entries with annotations that name them:
 * `io.containerd.image.name` in full, or `org.opencontainers.image.ref.name`,
 * which may be a tag alone. {@link ImportName} says what becomes of them.
 *
 * What holds for every method is what holds for those of Distribution: digests
 * are computed here, a failed call leaves no image record, no ingest and no
 * snapshot under construction, and a lease holds everything until its end.
 *
 * Errors: INVALID_ARGUMENT for an archive that is malformed or over a limit;
 * NOT_FOUND for one that lacks a part of its images, and for images or parts
 * of them that are not here; FAILED_PRECONDITION for bytes of another digest
 * than promised; DATA_LOSS when the store holds other bytes than it should.
 */
import { one } from '../token.js';
import type { PullProgress, UnpackTarget } from './distribution.js';
import type { Image } from './images.js';
import type { Labels, Platform, Scope } from './scope.js';

/** How the entries of an archive's index are named; `name` is a full name or, with `isPrefix`, what tags are put behind. */
export interface ImportName {
  readonly name: string;
  /** Names entries by their annotations: a full name that begins with the prefix, or the prefix and a tag. Otherwise it names the whole. */
  readonly isPrefix: boolean;
  /** Full names count even when they do not begin with the prefix. */
  readonly allowOverwrite: boolean;
  /** Also, or for want of an annotation, `name@digest`. */
  readonly addDigest: boolean;
  /** Not that, where an annotation gave a name. */
  readonly skipNamedDigest: boolean;
}

export interface ImportOptions {
  /** Name of an image of the archive's whole index; none when absent. */
  readonly name?: string;
  readonly names?: readonly ImportName[];
  readonly labels?: Labels;
  /** What must be in the archive. Default: `all`. */
  readonly platforms?: readonly Platform[] | 'all';
  /** Keep manifests of other platforms too, as far as they are in the archive. */
  readonly allMetadata?: boolean;
  /** Compress the layers of Docker archives. */
  readonly compress?: boolean;
  /** Default: none, content only. */
  readonly unpack?: readonly UnpackTarget[];
  readonly onProgress?: (progress: PullProgress) => void;
}

export interface ExportOptions {
  /** Of an index, these. Default: the platform of this host. */
  readonly platforms?: readonly Platform[];
  /** Of an index, all of it. */
  readonly allPlatforms?: boolean;
  /** Leave out `manifest.json`, which only Docker needs. */
  readonly skipDockerManifest?: boolean;
  readonly skipNonDistributable?: boolean;
}

export interface Archives {
  /** Takes in all of an archive; resolves to the image records written, none when nothing is named. */
  import(scope: Scope, archive: AsyncIterable<Uint8Array>, options?: ImportOptions): Promise<readonly Image[]>;
  /** The bytes of an archive of images, by name; a chunk is valid until the next one is asked for. Errors come from the iteration. */
  export(scope: Scope, names: readonly string[], options?: ExportOptions): AsyncIterable<Uint8Array>;
}

export const Archives = one<Archives>('archives@1');
