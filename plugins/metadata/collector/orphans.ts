import type { ContentStore } from '../../../kernel/contracts/content.js';
import type { Snapshotter } from '../../../kernel/contracts/snapshots.js';
import { hasCode } from '../../../kernel/errors.js';
import { failpoint } from '../../../lib/failpoint.js';
import { Limit } from '../../../lib/limit.js';
import { integer, text } from '../../../lib/sqlite/row.js';
import type { Core } from '../core.js';
import { type Aged, byAge, newestFirst } from './order.js';
import { Slices } from './slices.js';
import { rowsOf } from './tables.js';

export interface Backends {
  readonly store: ContentStore;
  readonly snapshotters: ReadonlyMap<string, Snapshotter>;
  /** Records were lost: what they do not know is not garbage until the next start. */
  readonly keepUnknown: boolean;
}

interface OrphanSnapshot extends Aged {
  readonly snapshotter: string;
  readonly backend: Snapshotter;
  readonly key: string;
}

/** Files deleted at a time: the threads that do it also flush what writers wait for. */
const FILES_AT_ONCE = 2;
/** Records of snapshots deleted at a time; a backend that shares transactions takes them together. */
const RECORDS_AT_ONCE = 50;

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

  /** `leftovers`: snapshotters that may hold files of snapshots that were removed, or never made to the end, before. */
  async remove(leftovers: readonly string[]): Promise<Removed> {
    const content = await this.#content();
    await this.#ingests();
    return { content, snapshots: await this.#snapshots(leftovers) };
  }

  async #content(): Promise<number> {
    for (const digest of this.#core.unrecordedContent) {
      await this.#note('orphan_content VALUES (?)', digest);
    }
    let removed = 0;
    const select = 'SELECT digest FROM orphan_content WHERE digest > ? ORDER BY digest LIMIT ?';
    for await (const rows of this.#core.pages(select, 'digest')) {
      const digests = rows.map((row) => text(row, 'digest'));
      removed += await count(FILES_AT_ONCE, digests, (digest) =>
        this.#tried(`content "${digest}"`, () => this.#removeContent(digest)),
      );
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
    const select = 'SELECT backend_ref FROM orphan_ingests WHERE backend_ref > ? ORDER BY backend_ref LIMIT ?';
    for await (const rows of this.#core.pages(select, 'backend_ref')) {
      const refs = rows.map((row) => text(row, 'backend_ref'));
      await count(FILES_AT_ONCE, refs, (ref) => this.#tried(`ingest "${ref}"`, () => this.#removeIngest(ref)));
    }
  }

  async #removeIngest(ref: string): Promise<void> {
    await unlessGone(this.#backends.store.abort(ref));
    await this.#forget('orphan_ingests WHERE backend_ref = ?', ref);
  }

  async #snapshots(leftovers: readonly string[]): Promise<number> {
    const orphans = await this.#orphanSnapshots();
    let removed = 0;
    // A page holds children with their parents at most, and what is refused for its children's sake comes again.
    for (let done = 0; done < orphans.length; done += RECORDS_AT_ONCE) {
      const refused: OrphanSnapshot[] = [];
      const page = orphans.slice(done, done + RECORDS_AT_ONCE);
      removed += await count(RECORDS_AT_ONCE, page, async (orphan) => {
        const gone = await this.#triedSnapshot(orphan);
        if (!gone) refused.push(orphan);
        return gone;
      });
      removed += await count(1, refused.sort(byAge), (orphan) => this.#triedSnapshot(orphan));
    }
    for (const name of new Set([...leftovers, ...orphans.map(({ snapshotter }) => snapshotter)])) {
      const cleanup = async (): Promise<void> => this.#backends.snapshotters.get(name)?.cleanup();
      await this.#tried(`leftovers of snapshotter "${name}"`, cleanup);
    }
    return removed;
  }

  /** Those of the snapshotters that there are now, children before parents: a child's number is the higher one. */
  async #orphanSnapshots(): Promise<readonly OrphanSnapshot[]> {
    const found: OrphanSnapshot[] = [];
    const slices = new Slices();
    const rows = rowsOf(this.#core.database, slices, 'orphan_snapshots', ['snapshotter', 'backend_key'], ['sequence']);
    for await (const row of rows) {
      const snapshotter = text(row, 'snapshotter');
      const backend = this.#backends.snapshotters.get(snapshotter);
      if (!backend) continue;
      found.push({ snapshotter, backend, key: text(row, 'backend_key'), sequence: integer(row, 'sequence') });
    }
    return newestFirst(found, slices);
  }

  #triedSnapshot(orphan: OrphanSnapshot): Promise<boolean> {
    const { snapshotter, key } = orphan;
    return this.#tried(`snapshot "${key}" of "${snapshotter}"`, () => this.#removeSnapshot(orphan));
  }

  #removeSnapshot({ snapshotter, backend, key }: OrphanSnapshot): Promise<void> {
    const { database, backendLock } = this.#core;
    return backendLock.run(`${snapshotter}\0${key}`, async () => {
      const sql = 'SELECT 1 FROM snapshots WHERE snapshotter = ? AND backend_key = ? LIMIT 1';
      failpoint('gc.snapdir');
      if (!database.get(sql, snapshotter, key)) await unlessGone(backend.remove(key));
      await this.#forget('orphan_snapshots WHERE snapshotter = ? AND backend_key = ?', snapshotter, key);
    });
  }

  async #note(into: string, ...params: readonly string[]): Promise<void> {
    const insert = `INSERT OR IGNORE INTO ${into}`;
    await this.#core.database.mutate((sql) => sql.run(insert, ...params), { durable: false, frees: true });
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

/** Of how many items the work, done on so many at a time, resolves to true. */
async function count<T>(width: number, items: readonly T[], work: (item: T) => Promise<boolean>): Promise<number> {
  const limit = new Limit(width);
  const outcomes = await Promise.all(items.map((item) => limit.run(() => work(item))));
  return outcomes.filter(Boolean).length;
}

async function unlessGone(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!hasCode(error, 'NOT_FOUND')) throw error;
  }
}
