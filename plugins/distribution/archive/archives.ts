/** The contract Archives: what an archive holds goes the way of a pull that has already been downloaded. */
import type { Archives, ExportOptions, ImportOptions } from '../../../kernel/contracts/archives.js';
import type { Image } from '../../../kernel/contracts/images.js';
import type { Namespaces } from '../../../kernel/contracts/namespaces.js';
import type { Descriptor, Scope } from '../../../kernel/contracts/scope.js';
import type { Snapshots } from '../../../kernel/contracts/snapshots.js';
import { notFound } from '../../../kernel/errors.js';
import { parseManifest } from '../../../lib/oci/documents.js';
import type { BlobOrigin } from '../job.js';
import type { Jobs } from '../jobs.js';
import { ProgressBoard } from '../progress.js';
import { Pull, type PullServices } from '../pull.js';
import { readDocument } from '../stored.js';
import { resolveTargets } from '../targets.js';
import { exportImages } from './export.js';
import { takeIn } from './intake.js';
import { indexOf } from './layout.js';
import { entryNames, indexNames } from './names.js';

/** Whatever is not in content when an archive has been read is not in the archive. */
const NOTHING_MORE: BlobOrigin = {
  fetchDocument: async ({ digest }) => {
    throw notFound(`the archive lacks "${digest}", which belongs to its images`);
  },
  fetchBlob: async ({ digest }) => {
    throw notFound(`the archive lacks "${digest}", which belongs to its images`);
  },
  close() {},
};

export class ImageArchives implements Archives {
  readonly #namespaces: Namespaces;
  readonly #snapshots: Snapshots;
  readonly #pulling: PullServices;
  readonly #jobs: Jobs;
  readonly #maxDocument: number;

  constructor(
    services: { readonly namespaces: Namespaces; readonly snapshots: Snapshots },
    pulling: PullServices,
    jobs: Jobs,
    maxDocument: number,
  ) {
    this.#namespaces = services.namespaces;
    this.#snapshots = services.snapshots;
    this.#pulling = pulling;
    this.#jobs = jobs;
    this.#maxDocument = maxDocument;
  }

  async import(
    scope: Scope,
    archive: AsyncIterable<Uint8Array>,
    options: ImportOptions = {},
  ): Promise<readonly Image[]> {
    const services = { snapshots: this.#snapshots, namespaces: this.#namespaces };
    const unpack = await resolveTargets(services, scope, options.unpack ?? []);
    const { platforms = 'all', allMetadata = false, names = [], name = '' } = options;
    const board = new ProgressBoard('', options.onProgress);
    const { discards } = this.#pulling.unpacker;
    const job = { what: 'the import', scope, origin: NOTHING_MORE, source: undefined, board, discards };
    return this.#jobs.run(job, async (running, signal) => {
      board.say('Importing');
      const { content } = this.#pulling;
      const taken = await takeIn(content, running.scope, archive, signal);
      const layout = { content, scope: running.scope, compress: options.compress ?? false };
      const index = await indexOf(layout, taken);
      const pull = new Pull(this.#pulling, running, { platforms, allMetadata, unpack });
      await pull.fetch(index, signal);
      const images = [...(await pull.record(index, indexNames(index, name, names), options, [])).images];
      for (const entry of await this.#entries(running.scope, index)) {
        images.push(...(await pull.record(entry, entryNames(entry, names), options, [])).images);
      }
      await this.#jobs.handOver(
        scope,
        index,
        images.map((image) => image.name),
      );
      board.say('Completed import');
      return images;
    });
  }

  async #entries(scope: Scope, index: Descriptor): Promise<readonly Descriptor[]> {
    const document = parseManifest(index, await readDocument(this.#pulling.content, scope, index));
    return 'manifests' in document ? document.manifests : [];
  }

  async *export(
    scope: Scope,
    names: readonly string[],
    options: ExportOptions = {},
  ): AsyncGenerator<Uint8Array, void, void> {
    const { images, content } = this.#pulling;
    const found = await Promise.all(names.map((name) => images.get(scope, name)));
    const targets = found.map(({ target }) => target);
    yield* this.#jobs.holdingStream(scope, targets, (held) =>
      exportImages({ content, scope: held, maxDocument: this.#maxDocument }, found, options),
    );
  }
}
