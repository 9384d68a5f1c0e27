/** One layer becomes one committed snapshot, named by its chain ID. */
import { randomBytes } from 'node:crypto';
import type { Content } from '../../kernel/contracts/content.js';
import type { AppliedLayer, Diff, LayerSink } from '../../kernel/contracts/diff.js';
import type { Descriptor, Labels } from '../../kernel/contracts/scope.js';
import type { Mount, Snapshots } from '../../kernel/contracts/snapshots.js';
import { failedPrecondition, hasCode, internal } from '../../kernel/errors.js';
import type { Blobs } from './blobs.js';
import { ChunkPair } from './chunks.js';
import type { Flight } from './flights.js';
import { together } from './group.js';
import type { Job } from './job.js';
import type { BlobEvent } from './progress.js';
import { LayerTap } from './tap.js';

export interface UnpackServices {
  readonly content: Content;
  readonly snapshots: Snapshots;
  readonly diff: Diff;
  readonly blobs: Blobs;
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

/** A snapshotter may say that the layer exists while its record is still being made. */
const PREPARE_ATTEMPTS = 3;

/** containerd's form of the key of a snapshot under construction. */
const extractKey = (chainId: string): string =>
  `extract-${process.hrtime.bigint() % 1_000_000_000n}-${randomBytes(3).toString('base64url')} ${chainId}`;

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

  async run(): Promise<LayerOutcome> {
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
    const committed = await this.#orRemove(prepared, async () => {
      const applied: AppliedLayer[] = [];
      await together(this.#flight.signal, [
        async (signal) => {
          applied.push(await this.#apply(prepared, { detached: true, whileDownloading: true }, signal));
        },
        (signal) => this.#parent(signal),
      ]);
      if (applied.some(({ unresolved }) => unresolved)) return false;
      await this.#commit(prepared, this.#work.below?.chainId ?? '');
      return true;
    });
    if (committed) return 'unpacked';
    await this.#remove(prepared.key);
    return this.#stack(false);
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
    { detached, whileDownloading }: { readonly detached: boolean; readonly whileDownloading: boolean },
    signal: AbortSignal,
  ): Promise<AppliedLayer> {
    const { mediaType, size, digest } = this.#work.descriptor;
    const open = () => this.#services.diff.open({ mediaType, mounts, detached, size, digest, signal });
    const tapped = whileDownloading ? await this.#fetchTapped(open, signal) : undefined;
    const applied = tapped ?? (await this.#applyFromContent(open, signal));
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
        const chunks = new ChunkPair();
        for (let offset = 0; offset < reader.size; ) {
          signal.throwIfAborted();
          const chunk = chunks.allocate(reader.size - offset);
          const read = await reader.read(chunk, offset);
          await sink.write(chunk.subarray(0, read));
          offset += read;
          this.#flight.report({ kind: 'extracting', bytes: offset });
        }
        return await sink.end();
      } finally {
        await sink.abort();
      }
    } finally {
      await reader.close();
    }
  }

  async #commit({ key }: Prepared, parent: string): Promise<void> {
    const { job, snapshotter, chainId } = this.#work;
    const options = { labels: this.#labels(), ...(parent === '' ? {} : { parent }) };
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
