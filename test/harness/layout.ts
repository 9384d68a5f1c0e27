/**
 * Builds OCI image layouts (image-spec, image-layout.md) from trees of this
 * system, with GNU tar making the layers.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { succeed } from './command.js';

export interface LayerSource {
  /** The directory that becomes the layer's root. */
  readonly tree: string;
  /** Paths relative to it, each taken without what is below it. Default: everything. */
  readonly paths?: readonly string[];
  /** Default: gzip. */
  readonly compression?: Compression;
}

export type Compression = 'gzip' | 'zstd' | 'none';

export interface ImageSource {
  readonly layers: readonly LayerSource[];
  readonly command: readonly string[];
  readonly env?: readonly string[];
  readonly workingDir?: string;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const MEDIA_TYPES: Readonly<Record<Compression, string>> = {
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  none: 'application/vnd.oci.image.layer.v1.tar',
};

const COMPRESSORS: Readonly<Record<Exclude<Compression, 'none'>, readonly string[]>> = {
  gzip: ['igzip', '-k', '-n', '-f', '-2', '-o'],
  zstd: ['zstd', '-q', '-k', '-f', '-3', '-o'],
};

/** Milliseconds for a big layer on a slow machine. */
const SLOW = 300_000;

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return `sha256:${hash.digest('hex')}`;
}

/** One layout being written. */
class Layout {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Moves a file in under its digest. */
  async #adopt(file: string, mediaType: string): Promise<Descriptor> {
    const digest = await digestOf(file);
    const { size } = await stat(file);
    await rename(file, join(this.#directory, 'blobs', digest.replace(':', '/')));
    return { mediaType, digest, size };
  }

  async addJson(value: unknown, mediaType: string): Promise<Descriptor> {
    const file = join(this.#directory, 'new.json');
    await writeFile(file, JSON.stringify(value));
    return this.#adopt(file, mediaType);
  }

  /** Makes a layer; resolves to its descriptor and the digest of its archive. */
  async addLayer({ tree, paths, compression = 'gzip' }: LayerSource): Promise<{ layer: Descriptor; diffId: string }> {
    const archive = join(this.#directory, 'new.tar');
    const flags = [
      '--create',
      `--file=${archive}`,
      `--directory=${tree}`,
      '--format=pax',
      '--pax-option=delete=atime,delete=ctime',
      '--xattrs',
      '--xattrs-include=*',
      '--numeric-owner',
      '--sparse',
      '--sort=name',
    ];
    const selection = paths ? ['--no-recursion', '--null', '--files-from=-'] : ['.'];
    await succeed('tar', [...flags, ...selection], { input: (paths ?? []).join('\0'), timeout: SLOW });
    const diffId = await digestOf(archive);
    const blob = compression === 'none' ? archive : await this.#compress(archive, compression);
    return { layer: await this.#adopt(blob, MEDIA_TYPES[compression]), diffId };
  }

  async #compress(archive: string, compression: Exclude<Compression, 'none'>): Promise<string> {
    const [program = '', ...flags] = COMPRESSORS[compression];
    const blob = `${archive}.${compression}`;
    await succeed(program, [...flags, blob, archive], { timeout: SLOW });
    await succeed('rm', [archive]);
    return blob;
  }

  async finish(manifest: Descriptor): Promise<void> {
    const named = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
    await writeFile(join(this.#directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
    await writeFile(join(this.#directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  }
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The machine's architecture as OCI names it. */
export const architecture = ARCHITECTURES[process.arch] ?? process.arch;

/** Writes an image as a new OCI layout `directory`, tagged `latest`. */
export async function writeLayout(directory: string, image: ImageSource): Promise<void> {
  await mkdir(join(directory, 'blobs', 'sha256'), { recursive: true });
  const layout = new Layout(directory);
  const layers = [];
  for (const source of image.layers) layers.push(await layout.addLayer(source));
  const config = await layout.addJson(
    {
      architecture,
      os: 'linux',
      config: {
        Cmd: image.command,
        Env: image.env ?? ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
        WorkingDir: image.workingDir ?? '/',
      },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map((_, index) => ({ created: '2026-01-01T00:00:00Z', created_by: `layer ${index}` })),
    },
    'application/vnd.oci.image.config.v1+json',
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = { schemaVersion: 2, mediaType, config, layers: layers.map(({ layer }) => layer) };
  await layout.finish(await layout.addJson(manifest, mediaType));
}
