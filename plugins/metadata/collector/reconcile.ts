import type { Snapshotter } from '../../../kernel/contracts/snapshots.js';
import { size } from '../../../lib/sqlite/row.js';
import type { Core } from '../core.js';
import type { Backends } from './orphans.js';
import { Slices } from './slices.js';

/** Backend keys that we made: `namespace/sequence/name`. */
const OURS = /^[^/]+\/(\d+)\//;

/**
 * Finds what a crash left in the backends between their change and its record,
 * and notes it for removal. Needed once after a start, and after a change that
 * could not be recorded.
 */
export class Reconciliation {
  readonly #core: Core;
  readonly #backends: Backends;
  #contentDone = false;
  readonly #snapshottersDone = new Set<string>();

  constructor(core: Core, backends: Backends) {
    this.#core = core;
    this.#backends = backends;
  }

  /** Resolves to the snapshotters it looked at: they may hold files, too, that they have no record of themselves. */
  async run(): Promise<readonly string[]> {
    if (this.#backends.keepUnknown) return [];
    if (!this.#contentDone) {
      await this.#content();
      await this.#ingests();
      this.#contentDone = true;
    }
    for (const name of this.#core.unrecordedSnapshots) this.#snapshottersDone.delete(name);
    this.#core.unrecordedSnapshots.clear();
    const found: string[] = [];
    for (const [name, backend] of this.#backends.snapshotters) {
      if (this.#snapshottersDone.has(name)) continue;
      await this.#snapshots(name, backend);
      this.#snapshottersDone.add(name);
      found.push(name);
    }
    return found;
  }

  async #content(): Promise<void> {
    const { database, log } = this.#core;
    const slices = new Slices();
    for await (const blob of this.#backends.store.walk()) {
      if (slices.over) await slices.rest();
      const row = database.get('SELECT size FROM content WHERE digest = ? LIMIT 1', blob.digest);
      if (!row) await this.#note('orphan_content VALUES (?)', blob.digest);
      else if (size(row, 'size') !== blob.size) {
        log.error({ digest: blob.digest }, 'content is damaged: its file has another size; pull it again to repair it');
      }
    }
  }

  async #ingests(): Promise<void> {
    for (const { ref } of await this.#backends.store.statuses()) {
      if (this.#core.database.get('SELECT 1 FROM ingests WHERE backend_ref = ?', ref)) continue;
      await this.#note('orphan_ingests VALUES (?)', ref);
    }
  }

  async #snapshots(name: string, backend: Snapshotter): Promise<void> {
    const { database, snapshotsInTheMaking } = this.#core;
    const slices = new Slices();
    for await (const { name: key } of backend.walk()) {
      if (slices.over) await slices.rest();
      const sequence = OURS.exec(key)?.[1];
      if (sequence === undefined || snapshotsInTheMaking.has(key)) continue;
      if (database.get('SELECT 1 FROM snapshots WHERE snapshotter = ? AND backend_key = ?', name, key)) continue;
      await this.#note('orphan_snapshots VALUES (?, ?, ?)', name, key, BigInt(sequence));
    }
  }

  async #note(into: string, ...params: readonly (string | bigint)[]): Promise<void> {
    const insert = `INSERT OR IGNORE INTO ${into}`;
    await this.#core.database.mutate((sql) => sql.run(insert, ...params), { durable: false, frees: true });
  }
}
