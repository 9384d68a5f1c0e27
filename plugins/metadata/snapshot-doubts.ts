import type { DoubtfulSnapshot, Mount, SnapshotDoubts, Snapshotter } from '../../kernel/contracts/snapshots.js';
import { notFound } from '../../kernel/errors.js';
import type { Core } from './core.js';
import { type SnapshotRecord, type SnapshotTable, toSnapshotRecord } from './snapshot-table.js';

/** What backends were not sure to have on disk when the machine went down, under the names of its namespaces. */
export class DoubtfulSnapshots implements SnapshotDoubts {
  readonly #core: Core;
  readonly #table: SnapshotTable;
  readonly #backends: ReadonlyMap<string, Snapshotter>;
  readonly #settled = Promise.withResolvers<void>();

  constructor(core: Core, table: SnapshotTable, backends: ReadonlyMap<string, Snapshotter>) {
    this.#core = core;
    this.#table = table;
    this.#backends = backends;
  }

  list(): readonly DoubtfulSnapshot[] {
    return [...this.#backends].flatMap(([snapshotter, backend]) => this.#records(snapshotter, backend));
  }

  async rebuild(
    { namespace, snapshotter, name }: DoubtfulSnapshot,
    fill: (mounts: readonly Mount[]) => Promise<void>,
  ): Promise<void> {
    const { backendKey } = this.#table.get(this.#core.database, namespace, snapshotter, name);
    const rebuild = this.#backends.get(snapshotter)?.rebuild;
    if (!rebuild) throw notFound(`snapshotter "${snapshotter}" is not there to make "${name}" again`);
    await rebuild.call(this.#backends.get(snapshotter), backendKey, fill);
  }

  settled(): void {
    this.#settled.resolve();
  }

  /** Resolves once neither it nor what it stands on is in doubt. */
  async settledFor(record: SnapshotRecord): Promise<void> {
    const { namespace, snapshotter } = record;
    const doubtful = new Set(this.#backends.get(snapshotter)?.unsynced?.());
    if (doubtful.size === 0) return;
    let at: SnapshotRecord | undefined = record;
    while (at && !doubtful.has(at.backendKey))
      at = this.#table.find(this.#core.database, namespace, snapshotter, at.parent);
    if (at) await this.#settled.promise;
  }

  #records(snapshotter: string, backend: Snapshotter): readonly DoubtfulSnapshot[] {
    const sql = 'SELECT * FROM snapshots WHERE snapshotter = ? AND backend_key = ?';
    return (backend.unsynced?.() ?? []).flatMap((backendKey) => {
      const row = this.#core.database.get(sql, snapshotter, backendKey);
      if (!row) return [];
      const { namespace, key, parent, labels } = toSnapshotRecord(row);
      return [{ namespace, snapshotter, name: key, parent, labels }];
    });
  }
}
