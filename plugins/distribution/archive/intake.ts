/** Brings every file of an archive into content. Names in it are the archive's word: only what is computed here counts. */
import { posix } from 'node:path';
import type { Content, ContentWriter } from '../../../kernel/contracts/content.js';
import type { Scope } from '../../../kernel/contracts/scope.js';
import { hasCode, invalidArgument } from '../../../kernel/errors.js';
import type { TarEntry } from '../../../lib/tar/entry.js';
import { CHUNK } from '../chunks.js';
import { readArchive } from './entries.js';

/** Bytes of `manifest.json` and of `oci-layout`. */
const MAX_JSON = 20 * 1024 * 1024;
const IN_MEMORY = ['oci-layout', 'manifest.json'];

export interface TakenFile {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  /** The first bytes, which tell how it is compressed. */
  readonly head: Buffer;
}

export interface Taken {
  /** By cleaned name; links included. */
  readonly files: ReadonlyMap<string, TakenFile>;
  readonly documents: ReadonlyMap<string, Buffer>;
}

/** `./blobs//x` and `/blobs/x` are `blobs/x`. */
const clean = (name: string): string => posix.normalize(`/${name}`).slice(1).replace(/\/$/, '');

const HEAD = 8;

class Intake {
  readonly #content: Content;
  readonly #scope: Scope & { readonly lease: string };
  readonly #files = new Map<string, TakenFile>();
  readonly #documents = new Map<string, Buffer>();
  readonly #links = new Map<string, string>();
  #count = 0;

  constructor(content: Content, scope: Scope & { readonly lease: string }) {
    this.#content = content;
    this.#scope = scope;
  }

  async run(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Taken> {
    const events = readArchive(archive);
    for await (const event of events) {
      signal.throwIfAborted();
      if (event.kind !== 'entry') continue;
      const { entry } = event;
      const name = clean(Buffer.from(entry.name, 'latin1').toString('utf8'));
      if (entry.type === 'file') await this.#file(name, entry, chunksOf(events), signal);
      else this.#link(name, entry);
    }
    for (const [name, target] of this.#links) {
      const file = this.#files.get(target);
      if (file && !this.#files.has(name)) this.#files.set(name, file);
    }
    return { files: this.#files, documents: this.#documents };
  }

  #link(name: string, { type, link }: TarEntry): void {
    if (type === 'symlink') this.#links.set(name, clean(posix.join(posix.dirname(`/${name}`), link)));
    if (type === 'hardlink') this.#links.set(name, clean(link));
  }

  async #file(name: string, { size }: TarEntry, data: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    if (IN_MEMORY.includes(name)) {
      if (size > MAX_JSON) throw invalidArgument(`"${name}" of the archive has ${size} bytes, which is too much`);
      const chunks: Buffer[] = [];
      for await (const chunk of data) chunks.push(chunk);
      this.#documents.set(name, Buffer.concat(chunks));
      return;
    }
    this.#files.set(name, await this.#ingest(data, size, signal));
  }

  async #ingest(data: AsyncIterable<Buffer>, size: number, signal: AbortSignal): Promise<TakenFile> {
    const ref = `import-${this.#scope.lease}-${this.#count++}`;
    const writer = await this.#content.writer(this.#scope, { ref, total: size });
    try {
      let head = Buffer.alloc(0);
      for await (const chunk of largeChunks(data)) {
        signal.throwIfAborted();
        if (head.length === 0) head = Buffer.from(chunk.subarray(0, HEAD));
        await writer.write(chunk);
      }
      const digest = writer.digest();
      await this.#commit(writer, digest, size);
      return { digest, size, head };
    } catch (error) {
      await writer.close();
      await this.#abort(ref);
      throw error;
    }
  }

  /** Held by the lease in any case. */
  async #commit(writer: ContentWriter, digest: string, size: number): Promise<void> {
    try {
      await writer.commit({ size, expected: digest });
    } catch (error) {
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
    }
  }

  async #abort(ref: string): Promise<void> {
    try {
      await this.#content.abort(this.#scope, ref);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  }
}

/** Small pieces put together: each write costs the same, however little it writes. */
async function* largeChunks(data: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let size = 0;
  for await (const chunk of data) {
    waiting.push(chunk);
    size += chunk.length;
    if (size < CHUNK) continue;
    yield Buffer.concat(waiting);
    waiting = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(waiting);
}

/** The data of the file whose entry has just been read. */
async function* chunksOf(events: ReturnType<typeof readArchive>): AsyncGenerator<Buffer> {
  for (;;) {
    const { value, done } = await events.next();
    if (done || value.kind !== 'data') return;
    yield value.chunk;
  }
}

/** Every file becomes content under the lease of the scope, but for the two that describe the archive. */
export const takeIn = (
  content: Content,
  scope: Scope & { readonly lease: string },
  archive: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Taken> => new Intake(content, scope).run(archive, signal);
