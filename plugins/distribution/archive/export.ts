/** Writes images as an archive that is an OCI layout and a Docker archive at once. The same images give the same bytes. */
import { createHash } from 'node:crypto';
import type { ExportOptions } from '../../../kernel/contracts/archives.js';
import type { Content } from '../../../kernel/contracts/content.js';
import type { Image } from '../../../kernel/contracts/images.js';
import type { Descriptor, Platform, Scope } from '../../../kernel/contracts/scope.js';
import { dataLoss, hasCode, invalidArgument, notFound, resourceExhausted } from '../../../kernel/errors.js';
import { parseDigest } from '../../../lib/digest.js';
import { type ImageManifest, parseManifest } from '../../../lib/oci/documents.js';
import { isForeignLayer, isIndex, isManifest, OCI_INDEX } from '../../../lib/oci/media-types.js';
import { hostPlatform, suitability } from '../../../lib/oci/platform.js';
import { END_OF_ARCHIVE, entryHeader, padding } from '../../../lib/tar/writer.js';
import { notHere, readDocument, readRange } from '../stored.js';
import { familiarName, IMAGE_NAME, REF_NAME, tagOf } from './names.js';

const MAX_DEPTH = 8;

export interface ExportServices {
  readonly content: Content;
  readonly scope: Scope;
  /** Bytes of a manifest or an index. */
  readonly maxDocument: number;
}

interface DockerEntry {
  readonly manifest: ImageManifest;
  readonly names: string[];
}

const blobPath = (digest: string): string => {
  const { algorithm, hex } = parseDigest(digest);
  return `blobs/${algorithm}/${hex}`;
};

/** Decides what belongs into the archive. */
class Collection {
  readonly #services: ExportServices;
  readonly #options: ExportOptions;
  readonly blobs = new Map<string, Descriptor>();
  /** By digest of the manifest. */
  readonly docker = new Map<string, DockerEntry>();

  constructor(services: ExportServices, options: ExportOptions) {
    this.#services = services;
    this.#options = options;
  }

  async add({ name, target }: Image): Promise<void> {
    const shown = await this.#visit(target, 0);
    if (!shown) throw notFound(`image "${name}" has nothing for the platforms that are to be exported`);
    const entry = this.docker.get(shown) ?? this.docker.values().next().value;
    entry?.names.push(familiarName(name));
  }

  /** Resolves to the manifest that Docker is to see, undefined when there is none for the platform. */
  async #visit(descriptor: Descriptor, depth: number): Promise<string | undefined> {
    if (depth > MAX_DEPTH) throw invalidArgument(`index "${descriptor.digest}" is nested too deep`);
    if (isManifest(descriptor.mediaType)) return this.#visitManifest(descriptor);
    if (!isIndex(descriptor.mediaType)) throw invalidArgument(`"${descriptor.digest}" is no image`);
    this.blobs.set(descriptor.digest, descriptor);
    const document = await this.#read(descriptor);
    const entries = 'manifests' in document ? document.manifests : [];
    const wanted = this.#ranked(entries);
    let shown: string | undefined;
    for (const entry of wanted) {
      if (!isIndex(entry.mediaType) && !isManifest(entry.mediaType)) this.blobs.set(entry.digest, entry);
      else shown = (await this.#visit(entry, depth + 1)) ?? shown;
    }
    const [best] = wanted.filter(({ digest }) => this.docker.has(digest));
    return best?.digest ?? shown;
  }

  /** The best first. */
  #ranked(entries: readonly Descriptor[]): readonly Descriptor[] {
    const platforms: readonly Platform[] = this.#options.platforms?.length ? this.#options.platforms : [hostPlatform()];
    const rank = ({ platform }: Descriptor): number => {
      if (!platform) return Number.MAX_SAFE_INTEGER;
      const index = platforms.findIndex((one) => suitability(one, platform) === 0);
      return index < 0 ? Number.POSITIVE_INFINITY : index;
    };
    const ranked = entries.map((entry) => ({ entry, rank: rank(entry) }));
    ranked.sort((a, b) => (a.rank === b.rank ? 0 : a.rank - b.rank));
    return ranked
      .filter((one) => this.#options.allPlatforms || one.rank < Number.POSITIVE_INFINITY)
      .map(({ entry }) => entry);
  }

  async #visitManifest(descriptor: Descriptor): Promise<string> {
    this.blobs.set(descriptor.digest, descriptor);
    const document = await this.#read(descriptor);
    if (!('layers' in document)) throw invalidArgument(`manifest "${descriptor.digest}" has no layers`);
    for (const part of [document.config, ...document.layers]) {
      if (this.#options.skipNonDistributable && isForeignLayer(part.mediaType)) continue;
      this.blobs.set(part.digest, part);
    }
    if (!this.docker.has(descriptor.digest)) this.docker.set(descriptor.digest, { manifest: document, names: [] });
    return descriptor.digest;
  }

  async #read(descriptor: Descriptor) {
    if (descriptor.size > this.#services.maxDocument) {
      throw resourceExhausted(`document "${descriptor.digest}" has ${descriptor.size} bytes, which is too much`);
    }
    return parseManifest(descriptor, await readDocument(this.#services.content, this.#services.scope, descriptor));
  }
}

const EPOCH = { seconds: 0, nanos: 0 };

const header = (type: 'file' | 'directory', name: string, mode: number, size = 0): Buffer =>
  entryHeader({ type, name, mode, uid: 0, gid: 0, size, mtime: EPOCH });

function* small(name: string, value: unknown): Generator<Buffer> {
  const bytes = Buffer.from(JSON.stringify(value));
  yield header('file', name, 0o444, bytes.length);
  yield bytes;
  yield padding(bytes.length);
}

/** The bytes of the archive; a chunk is valid until the next one is asked for. */
export async function* exportImages(
  services: ExportServices,
  images: readonly Image[],
  options: ExportOptions,
): AsyncGenerator<Uint8Array> {
  if (images.length === 0) throw invalidArgument('no image is named that could be exported');
  const collection = new Collection(services, options);
  for (const image of images) await collection.add(image);
  const { content, scope } = services;
  for (const part of collection.blobs.values()) await checkPart(content, scope, part);
  yield header('directory', 'blobs/', 0o755);
  const algorithms = new Set([...collection.blobs.keys()].map((digest) => parseDigest(digest).algorithm));
  for (const algorithm of algorithms) yield header('directory', `blobs/${algorithm}/`, 0o755);
  for (const digest of [...collection.blobs.keys()].sort()) {
    yield* blob(services, collection.blobs.get(digest)?.size ?? 0, digest);
  }
  yield* small('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests: images.map(entryOf) });
  if (!options.skipDockerManifest) yield* small('manifest.json', dockerManifest(collection));
  yield* small('oci-layout', { imageLayoutVersion: '1.0.0' });
  yield END_OF_ARCHIVE;
}

const entryOf = ({ name, target: { mediaType, digest, size, annotations } }: Image) => ({
  mediaType,
  digest,
  size,
  annotations: { ...annotations, [IMAGE_NAME]: name, [REF_NAME]: tagOf(name) },
});

const dockerManifest = ({ docker }: Collection) =>
  [...docker.values()].map(({ manifest, names }) => ({
    Config: blobPath(manifest.config.digest),
    RepoTags: names,
    Layers: manifest.layers.map(({ digest }) => blobPath(digest)),
  }));

/** Before the first byte is written: an archive that breaks off helps nobody. */
async function checkPart(content: Content, scope: Scope, part: Descriptor): Promise<void> {
  const { digest, size } = part;
  try {
    const info = await content.info(scope, digest);
    if (info.size === size) return;
    throw invalidArgument(`content "${digest}" has ${info.size} bytes, its descriptor says ${size}`);
  } catch (error) {
    throw hasCode(error, 'NOT_FOUND') ? notHere(part, error) : error;
  }
}

async function* blob({ content, scope }: ExportServices, size: number, digest: string): AsyncGenerator<Uint8Array> {
  yield header('file', blobPath(digest), 0o444, size);
  const { algorithm, hex } = parseDigest(digest);
  const hash = createHash(algorithm);
  for await (const chunk of readRange(content, scope, digest, 0, size)) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') !== hex) throw dataLoss(`content "${digest}" is damaged`, { remedy: 'pull its image again' });
  yield padding(size);
}
