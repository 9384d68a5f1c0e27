/**
 * Turns the layers of an image into a chain of committed snapshots. Where the
 * snapshotter can rebase, every layer is unpacked at once into a snapshot
 * without parents, and only the commits wait for each other; elsewhere a layer
 * waits for the one below. Nothing is committed before its bytes have proven
 * to be what the configuration names.
 */
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import { Flights } from './flights.js';
import { together } from './group.js';
import type { Job } from './job.js';
import { UNCOMPRESSED } from './labels.js';
import { type LayerOutcome, LayerUnpack, type LayerWork, type UnpackServices } from './layer.js';
import type { BlobEvent } from './progress.js';

export interface LayerStack {
  readonly snapshotter: string;
  readonly layers: readonly Descriptor[];
  /** As many as layers. */
  readonly diffIds: readonly string[];
}

export class Unpacker {
  readonly #services: UnpackServices;
  readonly #flights = new Flights<LayerOutcome, BlobEvent>();

  constructor(services: UnpackServices) {
    this.#services = services;
  }

  /** Whether the blobs of what was unpacked are not to be kept. */
  get discards(): boolean {
    return this.#services.discards;
  }

  /** Fetches and unpacks; resolves to the chain ID of the top layer, empty without layers. */
  async unpack(job: Job, { snapshotter, layers, diffIds }: LayerStack, signal: AbortSignal): Promise<string> {
    const chain = chainIds(diffIds);
    const stack: LayerWork[] = [];
    for (const [index, descriptor] of layers.entries()) {
      const proof = { diffId: diffIds[index] ?? '', chainId: chain[index] ?? '' };
      stack.push({ job, snapshotter, descriptor, ...proof, below: stack.at(-1) });
    }
    // The biggest first: they are what the end waits for.
    const order = stack.toSorted((a, b) => b.descriptor.size - a.descriptor.size);
    await together(
      signal,
      order.map((work) => (either) => this.#obtain(work, either)),
    );
    return chain.at(-1) ?? '';
  }

  async #obtain(work: LayerWork, signal: AbortSignal): Promise<void> {
    const { job, descriptor, diffId } = work;
    const outcome = await this.#join(work, signal);
    if (outcome === 'remote' || (outcome === 'existed' && job.discards)) {
      job.board.event(descriptor, { kind: 'already exists' });
      return;
    }
    // Whoever made the snapshot: this caller's lease must hold the blob as well.
    await this.#services.blobs.fetch(job, descriptor, signal);
    if (outcome === 'unpacked') job.board.event(descriptor, { kind: 'extracted' });
    const labels = { [UNCOMPRESSED]: diffId };
    await this.#services.content.update(job.scope, descriptor.digest, labels, [`labels.${UNCOMPRESSED}`]);
  }

  /** The layer below is ridden along with, so that it goes on as long as a layer on top of it is wanted. */
  #join(work: LayerWork, signal: AbortSignal): Promise<LayerOutcome> {
    const { job, snapshotter, descriptor, chainId, below } = work;
    const { scope, leases, board, keepUntil } = job;
    const passenger = {
      signal,
      hold: () => leases.addResource(scope, scope.lease, { type: `snapshots/${snapshotter}`, id: chainId }),
      observe: (event: BlobEvent) => board.event(descriptor, event),
      launched: keepUntil,
    };
    const parent = async (either: AbortSignal): Promise<void> => {
      if (below) await this.#join(below, either);
    };
    return this.#flights.join(`${scope.namespace} ${snapshotter} ${chainId}`, passenger, (flight) =>
      new LayerUnpack(this.#services, work, flight, parent).run(),
    );
  }
}
