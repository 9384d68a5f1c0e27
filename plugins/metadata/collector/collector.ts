import type { CollectionStats } from '../../../kernel/contracts/leases.js';
import type { Core } from '../core.js';
import { Discards } from './discards.js';
import { Marker } from './mark.js';
import { type Backends, Orphans } from './orphans.js';
import { Reconciliation } from './reconcile.js';
import { RootScan } from './roots.js';
import { Slices } from './slices.js';
import { Sweep, type Swept } from './sweep.js';

export interface CollectionResult extends CollectionStats {
  /** Milliseconds of the event loop. */
  readonly busy: number;
  /** Milliseconds until the next thing expires, or may be let go of; infinite when nothing does. */
  readonly nextExpiry: number;
}

/**
 * One collection after another: mark, sweep the records, then free the disk.
 * Mark and sweep never hold a writer up for more than a slice; see
 * {@link Marker} for why that is safe.
 */
export class Collector {
  readonly #core: Core;
  readonly #orphans: Orphans;
  readonly #snapshotters: Backends['snapshotters'];
  readonly #reconciliation: Reconciliation;

  constructor(core: Core, backends: Backends) {
    this.#core = core;
    this.#snapshotters = backends.snapshotters;
    this.#orphans = new Orphans(core, backends);
    this.#reconciliation = new Reconciliation(core, backends);
  }

  /** Must not be called while another runs. */
  async run(): Promise<CollectionResult> {
    const began = performance.now();
    const slices = new Slices();
    const { swept, nextExpiry } = await this.#sweepRecords(slices);
    const leftovers = await this.#reconciliation.run();
    // Bytes go when the loss of their record is on disk, never before.
    await this.#core.database.flushed();
    const removed = await this.#orphans.remove(leftovers);
    return {
      duration: performance.now() - began,
      longestPause: slices.longest,
      busy: slices.busy,
      contentRemoved: Math.max(removed.content, swept.content),
      snapshotsRemoved: Math.max(removed.snapshots, swept.snapshot),
      nextExpiry,
    };
  }

  async #sweepRecords(slices: Slices): Promise<{ readonly swept: Swept; readonly nextExpiry: number }> {
    const { database, pins } = this.#core;
    pins.beginCollection();
    try {
      const discards = new Discards(database, this.#snapshotters);
      const roots = await new RootScan(this.#core, slices, discards).run();
      const marker = new Marker(database, pins, slices, roots, discards);
      await marker.run();
      const swept = await new Sweep(this.#core, slices, marker).run();
      slices.end();
      return { swept, nextExpiry: Math.min(roots.nextExpiry, discards.nextLook) };
    } finally {
      pins.endCollection();
    }
  }
}
