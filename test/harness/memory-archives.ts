/** Archives that are kept as they come, under the name they are imported by; nothing is looked for in them. */
import type { Archives, ImportOptions } from '../../kernel/contracts/archives.js';
import type { Image, Images } from '../../kernel/contracts/images.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { notFound } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';

export class MemoryArchives implements Archives {
  /** By the name of the image. */
  readonly archives = new Map<string, Buffer>();
  readonly #images: Images;

  constructor(images: Images) {
    this.#images = images;
  }

  async import(
    scope: Scope,
    archive: AsyncIterable<Uint8Array>,
    options: ImportOptions = {},
  ): Promise<readonly Image[]> {
    const bytes = Buffer.concat((await Array.fromAsync(archive)).map((chunk) => Buffer.from(chunk)));
    const { name, labels = {} } = options;
    if (name === undefined) return [];
    this.archives.set(name, bytes);
    const target = { mediaType: 'application/x-tar', digest: digestOf(bytes), size: bytes.length };
    return [await this.#images.create(scope, { name, labels, target })];
  }

  async *export(_scope: Scope, names: readonly string[]): AsyncIterable<Uint8Array> {
    for (const name of names) {
      const bytes = this.archives.get(name);
      if (bytes === undefined) throw notFound(`there is no image "${name}"`);
      yield bytes;
    }
  }
}
