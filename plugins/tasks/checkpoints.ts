/** Checkpoint images between a directory, where a runtime makes and reads them, and content, where clients have them. */
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Any } from '../../api/gen/google/protobuf/any.js';
import type { BlobReader, Content } from '../../kernel/contracts/content.js';
import type { AnyMessage, Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { hasCode, invalidArgument } from '../../kernel/errors.js';

/** The image that criu made, as a tar archive; and the runtime spec of its container, an Any. */
export const IMAGE_TYPE = 'application/vnd.containerd.container.criu.checkpoint.criu.tar';
export const SPEC_TYPE = 'application/vnd.containerd.container.checkpoint.config.v1+proto';

/** Bytes read from content at once. */
const CHUNK = 1 << 20;

async function* chunksOf(reader: BlobReader): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < reader.size; ) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, reader.size - offset));
    const count = await reader.read(chunk, offset);
    if (count === 0) return;
    offset += count;
    yield chunk.subarray(0, count);
  }
}

/** The files of a directory, which holds nothing else, as a tar archive: the same one whenever it is made. */
async function* archiveOf(directory: string): AsyncGenerator<Uint8Array> {
  const { pack } = await import('tar-stream');
  const archive = pack();
  const fill = async (): Promise<void> => {
    for (const name of (await readdir(directory)).sort()) {
      const path = join(directory, name);
      const { size, mode, mtime } = await stat(path);
      await pipeline(createReadStream(path), archive.entry({ name, size, mode, mtime }));
    }
    archive.finalize();
  };
  fill().catch((error: Error) => archive.destroy(error));
  for await (const chunk of archive) if (chunk instanceof Uint8Array) yield chunk;
}

export class Checkpoints {
  readonly #content: Content;
  readonly #directory: string;

  /** `directory`: for images on their way. */
  constructor(content: Content, directory: string) {
    this.#content = content;
    this.#directory = directory;
  }

  /** A new directory for an image. */
  async place(): Promise<string> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    return mkdtemp(join(this.#directory, 'image-'));
  }

  /** Puts the image of a directory, and the spec of its container, into content. */
  async store(scope: Scope, image: string, spec: AnyMessage): Promise<readonly Descriptor[]> {
    const wire = Any.encode({ typeUrl: spec.typeUrl, value: spec.value }).finish();
    return [await this.#write(scope, IMAGE_TYPE, archiveOf(image)), await this.#write(scope, SPEC_TYPE, [wire])];
  }

  async #write(
    scope: Scope,
    mediaType: string,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<Descriptor> {
    const writer = await this.#content.writer(scope, { ref: `checkpoint-${randomUUID()}` });
    try {
      for await (const chunk of chunks) await writer.write(chunk);
      const digest = writer.digest();
      const size = writer.status().offset;
      await writer.commit({ size, expected: digest }).catch((error: unknown) => {
        if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      });
      return { mediaType, digest, size };
    } finally {
      await writer.close();
    }
  }

  /**
   * Unpacks an image to a directory of its own. INVALID_ARGUMENT for content of
   * another type, and for an archive of anything but files side by side.
   */
  async unpack(scope: Scope, { mediaType, digest }: Descriptor): Promise<string> {
    if (mediaType !== IMAGE_TYPE) throw invalidArgument(`checkpoint "${digest}" is of type "${mediaType}"`);
    const reader = await this.#content.reader(scope, digest);
    const directory = await this.place();
    try {
      await unpackTo(directory, chunksOf(reader), digest);
      return directory;
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    } finally {
      await reader.close();
    }
  }
}

async function unpackTo(directory: string, chunks: AsyncIterable<Buffer>, digest: string): Promise<void> {
  const { extract } = await import('tar-stream');
  const archive = extract();
  const feeding = pipeline(Readable.from(chunks), archive);
  // Told by the loop below, which the failure ends too.
  feeding.catch(() => undefined);
  for await (const entry of archive) {
    const { name, type, mode } = entry.header;
    const base = name.replace(/^\.\//, '');
    if (type === 'directory' && base === '') entry.resume();
    else if (type !== 'file' || !/^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/.test(base)) {
      throw invalidArgument(`checkpoint "${digest}" holds "${name}", which is no file of an image`);
    } else await pipeline(entry, createWriteStream(join(directory, base), { flags: 'wx', mode: (mode ?? 0) & 0o700 }));
  }
  await feeding;
}
