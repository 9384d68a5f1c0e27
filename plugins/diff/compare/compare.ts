/** Makes a layer of the difference of two snapshots and commits it to content. */
import { createHash, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';
import type { Content, ContentInfo, ContentWriter } from '../../../kernel/contracts/content.js';
import type { CompareTrees } from '../../../kernel/contracts/diff.js';
import type { Descriptor, Labels, Scope } from '../../../kernel/contracts/scope.js';
import { hasCode, unimplemented } from '../../../kernel/errors.js';
import { AT_FDCWD, close, O_DIRECTORY, O_RDONLY, openat } from '../../../lib/linux/file.js';
import { OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD } from '../../../lib/oci/media-types.js';
import { archiveOf } from './archive.js';
import type { Change, Changes } from './changes.js';
import { type Sides, withSides } from './sides.js';
import { treeChanges } from './trees.js';
import { isSelfContained, upperChanges } from './upper.js';

/** The uncompressed digest of a compressed layer, as containerd labels it. */
const UNCOMPRESSED = 'containerd.io/uncompressed';

type Compressor = () => ReturnType<typeof createGzip> | ReturnType<typeof createZstdCompress>;

const COMPRESSORS: ReadonlyMap<string, Compressor | undefined> = new Map<string, Compressor | undefined>([
  [OCI_LAYER, undefined],
  [OCI_LAYER_GZIP, () => createGzip({ chunkSize: 256 * 1024 })],
  [OCI_LAYER_ZSTD, () => createZstdCompress({ chunkSize: 256 * 1024 })],
]);

/** Runs `walk` on the open directory. */
function* within<T>(path: string, walk: (fd: number) => Generator<Change, T, void>): Generator<Change, T, void> {
  const fd = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
  try {
    return yield* walk(fd);
  } finally {
    close(fd);
  }
}

/** The changes, read from the upper directory alone where that says it all. */
function* changesOf({ lower, upper, overlay }: Sides): Changes {
  const isSeparate = overlay && (yield* within(overlay.root, (fd) => isSelfContained(fd, overlay.prefix)));
  if (isSeparate) yield* within(overlay.root, (fd) => upperChanges(fd, overlay));
  else if (lower === undefined) yield* within(upper, (fd) => treeChanges(undefined, fd));
  else yield* within(upper, (above) => within(lower, (below) => treeChanges(below, above)));
}

/** Writes the layer; resolves to the digest of its archive. */
async function writeLayer(
  writer: ContentWriter,
  sides: Sides,
  trees: CompareTrees,
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  const source = Readable.from(archiveOf(changesOf(sides), trees.sourceDateEpoch), { objectMode: true });
  const hashed = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of gathered(chunks)) {
      hash.update(chunk);
      yield chunk;
    }
  };
  const store = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) await writer.write(chunk);
  };
  const compressor = COMPRESSORS.get(trees.mediaType ?? OCI_LAYER_GZIP);
  const options = signal === undefined ? {} : { signal };
  if (compressor) await pipeline(source, hashed, compressor(), store, options);
  else await pipeline(source, hashed, store, options);
  return `sha256:${hash.digest('hex')}`;
}

const PIECE = 128 * 1024;

/** Fewer and larger chunks: headers are small. */
async function* gathered(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    held.push(chunk);
    size += chunk.length;
    if (size < PIECE) continue;
    yield Buffer.concat(held);
    held = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(held);
}

export class LayerComparer {
  readonly #content: Content;
  readonly #mountDirectory: string;

  constructor(content: Content, mountDirectory: string) {
    this.#content = content;
    this.#mountDirectory = mountDirectory;
  }

  /** UNIMPLEMENTED for a media type that is not of an OCI layer. */
  async compare(scope: Scope, trees: CompareTrees): Promise<Descriptor> {
    const mediaType = trees.mediaType ?? OCI_LAYER_GZIP;
    if (!COMPRESSORS.has(mediaType)) throw unimplemented(`layers of media type "${mediaType}" cannot be made`);
    return withSides(trees, this.#mountDirectory, async (sides) => {
      const { digest, size } = await this.#ingest(scope, trees, sides);
      return { mediaType, digest, size };
    });
  }

  async #ingest(scope: Scope, trees: CompareTrees, sides: Sides): Promise<ContentInfo> {
    for (;;) {
      const { digest, labels, info } = await this.#write(scope, trees, sides);
      const layer = info ?? (await this.#alreadyThere(scope, digest, labels));
      if (layer) return layer;
    }
  }

  /** Without the information when the namespace has such a layer already. */
  async #write(scope: Scope, trees: CompareTrees, sides: Sides) {
    const ref = trees.ref ?? `diff-${randomUUID()}`;
    const writer = await this.#content.writer(scope, { ref });
    try {
      await writer.truncate(0);
      const labels = { ...trees.labels, [UNCOMPRESSED]: await writeLayer(writer, sides, trees, scope.signal) };
      return await this.#commit(writer, labels);
    } catch (error) {
      await writer.close();
      if (trees.ref === undefined) await this.#content.abort(scope, ref);
      throw error;
    }
  }

  async #commit(writer: ContentWriter, labels: Labels) {
    const digest = writer.digest();
    try {
      return { digest, labels, info: await writer.commit({ expected: digest, labels }) };
    } catch (error) {
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      await writer.close();
      return { digest, labels };
    }
  }

  /** With the label that says what it unpacks to. Undefined when nobody held it and it has been collected meanwhile. */
  async #alreadyThere(scope: Scope, digest: string, labels: Labels): Promise<ContentInfo | undefined> {
    try {
      const info = await this.#content.info(scope, digest);
      if (info.labels[UNCOMPRESSED] !== undefined) return info;
      return await this.#content.update(scope, digest, labels, [`labels.${UNCOMPRESSED}`]);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      return undefined;
    }
  }
}
