import type { ContentStore } from '../../../kernel/contracts/content.js';
import type { Snapshotter } from '../../../kernel/contracts/snapshots.js';
import { hasCode } from '../../../kernel/errors.js';
import { failpoint } from '../../../lib/failpoint.js';
import { text } from '../../../lib/sqlite/row.js';
import type { Core } from '../core.js';

export interface Backends {
  readonly store: ContentStore;
  readonly snapshotters: ReadonlyMap<string, Snapshotter>;
}

export interface Removed {
  readonly content: number;
  readonly snapshots: number;
}

/**
 * Frees what no record refers to any more. Whoever takes such a thing up again
 * does so under the same lock, so nothing is deleted under his hands; what
 * cannot be deleted now stays noted for the next collection.
 */
export class Orphans {
  readonly #core: Core;
  readonly #backends: Backends;

  constructor(core: Core, backends: Backends) {
    this.#core = core;
    this.#backends = backends;
  }

  async remove(): Promise<Removed> {
    const content = await this.#content();
    await this.#ingests();
    return { content, snapshots: await this.#snapshots() };
  }

  async #content(): Promise<number> {
    const recorded = this.#core.database.all('SELECT digest FROM orphan_content').map((row) => text(row, 'digest'));
    const digests = new Set([...recorded, ...this.#core.unrecordedContent]);
    let removed = 0;
    for (const digest of digests) {
      if (await this.#tried(`content "${digest}"`, () => this.#removeContent(digest))) removed += 1;
    }
    return removed;
  }

  #removeContent(digest: string): Promise<void> {
    const { database, backendLock, unrecordedContent } = this.#core;
    return backendLock.run(digest, async () => {
      const held =
        database.get('SELECT 1 FROM content WHERE digest = ? LIMIT 1', digest) ??
        database.get("SELECT 1 FROM ingests WHERE expected = ? AND expected <> '' LIMIT 1", digest);
      failpoint('gc.blob');
      if (!held) await unlessGone(this.#backends.store.delete(digest));
      unrecordedContent.delete(digest);
      await this.#forget('orphan_content WHERE digest = ?', digest);
    });
  }

  async #ingests(): Promise<void> {
    const rows = this.#core.database.all('SELECT backend_ref FROM orphan_ingests');
    for (const ref of rows.map((row) => text(row, 'backend_ref'))) {
      await this.#tried(`ingest "${ref}"`, async () => {
        await unlessGone(this.#backends.store.abort(ref));
        await this.#forget('orphan_ingests WHERE backend_ref = ?', ref);
      });
    }
  }

  async #snapshots(): Promise<number> {
    // A child's number is higher than its parent's.
    const sql = 'SELECT snapshotter, backend_key FROM orphan_snapshots ORDER BY snapshotter, sequence DESC';
    const rows = this.#core.database.all(sql);
    const changed = new Map<string, Snapshotter>();
    let removed = 0;
    for (const row of rows) {
      const snapshotter = text(row, 'snapshotter');
      const key = text(row, 'backend_key');
      const backend = this.#backends.snapshotters.get(snapshotter);
      if (!backend) continue;
      const work = (): Promise<void> => this.#removeSnapshot(snapshotter, backend, key);
      if (await this.#tried(`snapshot "${key}" of "${snapshotter}"`, work)) removed += 1;
      changed.set(snapshotter, backend);
    }
    for (const [snapshotter, backend] of changed) {
      await this.#tried(`leftovers of snapshotter "${snapshotter}"`, () => backend.cleanup());
    }
    return removed;
  }

  #removeSnapshot(snapshotter: string, backend: Snapshotter, key: string): Promise<void> {
    const { database, backendLock } = this.#core;
    return backendLock.run(`${snapshotter}\0${key}`, async () => {
      const sql = 'SELECT 1 FROM snapshots WHERE snapshotter = ? AND backend_key = ? LIMIT 1';
      failpoint('gc.snapdir');
      if (!database.get(sql, snapshotter, key)) await unlessGone(backend.remove(key));
      await this.#forget('orphan_snapshots WHERE snapshotter = ? AND backend_key = ?', snapshotter, key);
    });
  }

  /** It is gone: the note of it may get lost in a power cut, it would do no harm. */
  async #forget(row: string, ...params: readonly string[]): Promise<void> {
    await this.#core.database.mutate((sql) => sql.run(`DELETE FROM ${row}`, ...params), {
      durable: false,
      frees: true,
    });
  }

  /** False when it did not work: that is logged, and tried again by the next collection. */
  async #tried(what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      const busy = hasCode(error, 'UNAVAILABLE') || hasCode(error, 'FAILED_PRECONDITION');
      this.#core.log[busy ? 'debug' : 'warn']({ err: error }, `could not remove ${what} yet`);
      return false;
    }
  }
}

async function unlessGone(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!hasCode(error, 'NOT_FOUND')) throw error;
  }
}
