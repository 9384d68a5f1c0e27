/** One layer becomes one committed snapshot, named by its chain ID. */
import type { Content } from '../../kernel/contracts/content.js';
import type { AppliedLayer, ApplyLayer, Diff, LayerSink } from '../../kernel/contracts/diff.js';
import type { Descriptor, Labels } from '../../kernel/contracts/scope.js';
import type { Mount, Snapshots, Usage } from '../../kernel/contracts/snapshots.js';
import { failedPrecondition, hasCode, internal } from '../../kernel/errors.js';
import type { Blobs } from './blobs.js';
import type { ChunkPairs } from './chunks.js';
import type { Flight } from './flights.js';
import { together } from './group.js';
import { extractKey, type Job } from './job.js';
import { ParentView } from './parent-view.js';
import type { BlobEvent } from './progress.js';
import { LayerTap } from './tap.js';

export interface UnpackServices {
  readonly content: Content;
  readonly snapshots: Snapshots;
  readonly diff: Diff;
  readonly blobs: Blobs;
  readonly chunks: ChunkPairs;
  /** The blobs of layers may go once these are unpacked: their files are flushed first, since nothing could make them again. */
  readonly discards: boolean;
}

/** A layer in its stack. */
export interface LayerWork {
  readonly job: Job;
  readonly snapshotter: string;
  readonly descriptor: Descriptor;
  readonly diffId: string;
  readonly chainId: string;
  /** Undefined for the base. */
  readonly below: LayerWork | undefined;
}

/** `remote`: the snapshotter has the layer from elsewhere and needs no bytes of it. */
export type LayerOutcome = 'unpacked' | 'existed' | 'remote';

interface Prepared {
  readonly key: string;
  readonly mounts: readonly Mount[];
}

/** A layer that was unpacked beside those below it. */
interface Beside {
  readonly unresolved: boolean;
  /** Before directories got what they have in the layers below. */
  readonly usage: Usage | undefined;
}

interface ApplyHow extends Pick<ApplyLayer, 'parents'> {
  readonly detached: boolean;
  readonly whileDownloading: boolean;
}

/** How bytes show that they are not what they were. */
const CORRUPTIONS = ['FAILED_PRECONDITION', 'INVALID_ARGUMENT', 'DATA_LOSS', 'RESOURCE_EXHAUSTED'] as const;

/** A snapshotter may say that the layer exists while its record is still being made. */
const PREPARE_ATTEMPTS = 3;

export class LayerUnpack {
  readonly #services: UnpackServices;
  readonly #work: LayerWork;
  readonly #flight: Flight<BlobEvent>;
  readonly #parent: (signal: AbortSignal) => Promise<void>;

  /** `parent` resolves once the layer below is committed. */
  constructor(
    services: UnpackServices,
    work: LayerWork,
    flight: Flight<BlobEvent>,
    parent: (signal: AbortSignal) => Promise<void>,
  ) {
    this.#services = services;
    this.#work = work;
    this.#flight = flight;
    this.#parent = parent;
  }

  /** A layer whose bytes were damaged since they came is fetched again, once. */
  async run(): Promise<LayerOutcome> {
    try {
      return await this.#unpack();
    } catch (error) {
      if (this.#flight.signal.aborted || !(await this.#isDamaged(error))) throw error;
      return this.#unpack();
    }
  }

  /** Whether it went wrong because the store holds other bytes than it should; those are then put out of it. */
  async #isDamaged(error: unknown): Promise<boolean> {
    const { job, descriptor } = this.#work;
    if (!CORRUPTIONS.some((code) => hasCode(error, code))) return false;
    try {
      return !(await this.#services.content.verify(job.scope, descriptor.digest));
    } catch (failure) {
      // It never got here: what the registry sent was refused.
      if (!hasCode(failure, 'NOT_FOUND')) throw failure;
      return false;
    }
  }

  async #unpack(): Promise<LayerOutcome> {
    const { job, descriptor, chainId, below, snapshotter } = this.#work;
    if (await this.#isCommitted(chainId)) return 'existed';
    if (!below || (await this.#isCommitted(below.chainId))) return this.#stack(true);
    if (this.#services.snapshots.capabilities(snapshotter).includes('rebase')) return this.#detach();
    // The bytes need not wait for the layer below; only unpacking must.
    await together(this.#flight.signal, [
      (signal) => this.#services.blobs.fetch(job, descriptor, signal),
      (signal) => this.#parent(signal),
    ]);
    return this.#stack(false);
  }

  /** Unpacks on the committed layer below. */
  async #stack(whileDownloading: boolean): Promise<LayerOutcome> {
    const prepared = await this.#prepare(this.#work.below?.chainId ?? '');
    if (!prepared) return 'remote';
    return this.#orRemove<LayerOutcome>(prepared, async () => {
      await this.#apply(prepared, { detached: false, whileDownloading }, this.#flight.signal);
      await this.#commit(prepared, '');
      return 'unpacked';
    });
  }

  /** Unpacks beside the layers below and puts the result on top of them afterwards. */
  async #detach(): Promise<LayerOutcome> {
    const prepared = await this.#prepare('');
    if (!prepared) return 'remote';
    if (await this.#orRemove(prepared, () => this.#placeBeside(prepared))) return 'unpacked';
    await this.#remove(prepared.key);
    return this.#stack(false);
  }

  /** False when the layer cannot be unpacked without those below. */
  async #placeBeside(prepared: Prepared): Promise<boolean> {
    const below = Promise.withResolvers<void>();
    below.promise.catch(() => {}); // whoever waits for it is told; often nobody does
    const view = new ParentView(this.#services.snapshots, this.#work, below.promise);
    try {
      const { unresolved, usage } = await this.#applyBeside(prepared, view, below.resolve);
      if (unresolved) return false;
      // The layers above wait for both.
      await Promise.all([view.close(), this.#commit(prepared, this.#work.below?.chainId ?? '', usage)]);
      return true;
    } finally {
      await view.close();
    }
  }

  /** Unpacks while the layers below come into being; both have ended when this settles. `begun` is told of those. */
  async #applyBeside(prepared: Prepared, view: ParentView, begun: (below: Promise<void>) => void): Promise<Beside> {
    let measuring: Promise<Usage | undefined> | undefined;
    const measure = (): void => {
      measuring ??= this.#measure(prepared);
    };
    const parents = (): Promise<readonly Mount[]> => {
      measure();
      return view.mounts();
    };
    const applied = await together(this.#flight.signal, [
      async (signal) => {
        const outcome = await this.#apply(prepared, { detached: true, whileDownloading: true, parents }, signal);
        measure();
        return [outcome];
      },
      async (signal) => {
        const below = this.#parent(signal);
        begun(below);
        await below;
        return [];
      },
    ]);
    const [outcome] = applied.flat();
    if (!outcome) throw internal(`layer "${this.#work.descriptor.digest}" was not unpacked`);
    return { unresolved: outcome.unresolved, usage: await measuring };
  }

  /** Measures what is unpacked while the layers below are still waited for; undefined when that must be done again. */
  async #measure({ key }: Prepared): Promise<Usage | undefined> {
    const { job, snapshotter } = this.#work;
    try {
      return await this.#services.snapshots.usage(job.scope, snapshotter, key);
    } catch {
      // The commit measures it then, and says what is wrong.
      return undefined;
    }
  }

  /** Held by the lease before it is relied on, so that no collection can take it in between. */
  async #isCommitted(chainId: string): Promise<boolean> {
    const { job, snapshotter } = this.#work;
    const { scope, leases } = job;
    if (!(await this.#statCommitted(chainId))) return false;
    await leases.addResource(scope, scope.lease, { type: `snapshots/${snapshotter}`, id: chainId });
    return this.#statCommitted(chainId);
  }

  async #statCommitted(chainId: string): Promise<boolean> {
    const { job, snapshotter } = this.#work;
    try {
      return (await this.#services.snapshots.stat(job.scope, snapshotter, chainId)).kind === 'committed';
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
      return false;
    }
  }

  /** Only labels we make ourselves: a layer's annotations are the image's word and steer nothing on this host. */
  #labels(): Labels {
    const { chainId, diffId, below } = this.#work;
    return {
      'containerd.io/snapshot.ref': chainId,
      'containerd.io/snapshot/diff-id': diffId,
      ...(below ? { 'containerd.io/snapshot/parent-chain-id': below.chainId } : {}),
    };
  }

  /** Undefined when the snapshotter answers that it has the layer already. */
  async #prepare(parent: string): Promise<Prepared | undefined> {
    const { job, snapshotter, chainId } = this.#work;
    for (let attempt = 1; attempt <= PREPARE_ATTEMPTS; attempt++) {
      const key = extractKey(chainId);
      try {
        return {
          key,
          mounts: await this.#services.snapshots.prepare(job.scope, snapshotter, key, parent, this.#labels()),
        };
      } catch (error) {
        if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
        if (await this.#isCommitted(chainId)) return undefined;
      }
    }
    throw internal(`snapshotter "${snapshotter}" says that "${chainId}" exists, but does not have it`);
  }

  /** Fetches the layer and unpacks it: while its bytes arrive, where that is wanted and they do, else from content. */
  async #apply(
    { mounts }: Prepared,
    { whileDownloading, ...how }: ApplyHow,
    signal: AbortSignal,
  ): Promise<AppliedLayer> {
    const { mediaType, size, digest } = this.#work.descriptor;
    const layer = { mediaType, mounts, size, signal, sync: this.#services.discards, ...how };
    // While downloading, the content store verifies the digest; hashing twice would be a waste.
    const tapped = whileDownloading
      ? await this.#fetchTapped(() => this.#services.diff.open(layer), signal)
      : undefined;
    const applied =
      tapped ?? (await this.#applyFromContent(() => this.#services.diff.open({ ...layer, digest }), signal));
    if (applied.diffId === this.#work.diffId) return applied;
    throw failedPrecondition(
      `layer "${digest}" unpacks to "${applied.diffId}", but the configuration of its image names "${this.#work.diffId}"`,
    );
  }

  async #fetchTapped(open: () => Promise<LayerSink>, signal: AbortSignal): Promise<AppliedLayer | undefined> {
    const { job, descriptor } = this.#work;
    const tap = new LayerTap(open, (bytes) => this.#flight.report({ kind: 'extracting', bytes }));
    try {
      await this.#services.blobs.fetch(job, descriptor, AbortSignal.any([signal, tap.failed]), tap);
      return await tap.result();
    } catch (error) {
      // What made the tap fail says more than the download that was given up for it.
      throw tap.failed.aborted && !signal.aborted ? tap.failed.reason : error;
    } finally {
      await tap.abort();
    }
  }

  async #applyFromContent(open: () => Promise<LayerSink>, signal: AbortSignal): Promise<AppliedLayer> {
    const { job, descriptor } = this.#work;
    const reader = await this.#services.content.reader(job.scope, descriptor.digest);
    try {
      const sink = await open();
      try {
        await this.#services.chunks.lend(async (chunks) => {
          for (let offset = 0; offset < reader.size; ) {
            signal.throwIfAborted();
            const chunk = chunks.allocate(reader.size - offset);
            const read = await reader.read(chunk, offset);
            await sink.write(chunk.subarray(0, read));
            offset += read;
            this.#flight.report({ kind: 'extracting', bytes: offset });
          }
        });
        return await sink.end();
      } finally {
        await sink.abort();
      }
    } finally {
      await reader.close();
    }
  }

  async #commit({ key }: Prepared, parent: string, usage?: Usage): Promise<void> {
    const { job, snapshotter, chainId } = this.#work;
    const measured = usage === undefined ? {} : { usage };
    const options = { labels: this.#labels(), ...(parent === '' ? {} : { parent }), ...measured };
    try {
      await this.#services.snapshots.commit(job.scope, snapshotter, chainId, key, options);
    } catch (error) {
      // A client unpacked the same layer by itself meanwhile.
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      await this.#remove(key);
    }
  }

  async #orRemove<T>({ key }: Prepared, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.#remove(key);
      throw error;
    }
  }

  async #remove(key: string): Promise<void> {
    const { job, snapshotter } = this.#work;
    try {
      await this.#services.snapshots.remove(job.scope, snapshotter, key);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  }
}
