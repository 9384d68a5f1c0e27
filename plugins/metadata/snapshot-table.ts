import type { Labels, Nanos } from '../../kernel/contracts/scope.js';
import { notFound } from '../../kernel/errors.js';
import type { Reader, Writer } from '../../lib/sqlite/database.js';
import { integer, type Row, stringMap, text } from '../../lib/sqlite/row.js';
import type { Core } from './core.js';
import { type Node, snapshotNode } from './node.js';

/** A snapshot as recorded: which of a namespace's keys is which of the backend's. */
export interface SnapshotRecord {
  readonly namespace: string;
  readonly snapshotter: string;
  readonly key: string;
  readonly backendKey: string;
  /** The number in the backend key; a child's is higher than its parent's. */
  readonly sequence: bigint;
  /** Empty for a base. */
  readonly parent: string;
  readonly labels: Labels;
  readonly createdAt: Nanos;
  readonly updatedAt: Nanos;
}

/** Says which snapshot a prepared one will become, see {@link SnapshotCreation}. */
export const SNAPSHOT_REF = 'containerd.io/snapshot.ref';

/** True for a label that the backend gets to see. */
export const isInherited = (key: string): boolean => key === SNAPSHOT_REF || key.startsWith('containerd.io/snapshot/');

export const inheritedLabels = (labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => isInherited(key)));

export const snapshotNodeOf = ({ namespace, snapshotter, key }: SnapshotRecord): Node =>
  snapshotNode(namespace, snapshotter, key);

export const toSnapshotRecord = (row: Row): SnapshotRecord => ({
  namespace: text(row, 'ns'),
  snapshotter: text(row, 'snapshotter'),
  key: text(row, 'key'),
  backendKey: text(row, 'backend_key'),
  sequence: integer(row, 'sequence'),
  parent: text(row, 'parent'),
  labels: stringMap(row, 'labels'),
  createdAt: integer(row, 'created'),
  updatedAt: integer(row, 'updated'),
});

const THIS = 'ns = ? AND snapshotter = ? AND key = ?';

/** The records of snapshots, and who may change them when. */
export class SnapshotTable {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  find(sql: Reader, namespace: string, snapshotter: string, key: string): SnapshotRecord | undefined {
    const row = sql.get(`SELECT * FROM snapshots WHERE ${THIS}`, namespace, snapshotter, key);
    return row && toSnapshotRecord(row);
  }

  /** NOT_FOUND. */
  get(sql: Reader, namespace: string, snapshotter: string, key: string): SnapshotRecord {
    const record = this.find(sql, namespace, snapshotter, key);
    if (!record) throw notFound(`snapshot "${key}" does not exist`);
    return record;
  }

  hasChild(sql: Reader, { namespace, snapshotter, key }: SnapshotRecord): boolean {
    const child = 'SELECT 1 FROM snapshots WHERE ns = ? AND snapshotter = ? AND parent = ? LIMIT 1';
    return sql.get(child, namespace, snapshotter, key) !== undefined;
  }

  async *walk(namespace: string, snapshotter: string): AsyncGenerator<SnapshotRecord> {
    const sql = 'SELECT * FROM snapshots WHERE ns = ? AND snapshotter = ? AND key > ? ORDER BY key LIMIT ?';
    for await (const rows of this.#core.pages(sql, 'key', namespace, snapshotter)) yield* rows.map(toSnapshotRecord);
  }

  write(sql: Writer, record: SnapshotRecord): void {
    const { namespace, snapshotter, key, backendKey, sequence, parent, labels, createdAt, updatedAt } = record;
    sql.run(
      'INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[namespace, snapshotter, key, backendKey, sequence, parent, JSON.stringify(labels), createdAt, updatedAt],
    );
    this.#core.touch(snapshotNodeOf(record));
  }

  /** Deletes exactly this record, not one that took its key meanwhile. */
  forget(sql: Writer, { namespace, snapshotter, key, backendKey }: SnapshotRecord): void {
    sql.run(`DELETE FROM snapshots WHERE ${THIS} AND backend_key = ?`, namespace, snapshotter, key, backendKey);
  }

  /** As {@link forget}; the backend's snapshot waits for the collector. */
  delete(sql: Writer, record: SnapshotRecord): void {
    const { snapshotter, backendKey, sequence } = record;
    this.forget(sql, record);
    sql.run('INSERT OR IGNORE INTO orphan_snapshots VALUES (?, ?, ?)', snapshotter, backendKey, sequence);
  }

  /** Runs alone among everything that changes those keys. */
  exclusively<T>(namespace: string, snapshotter: string, keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const locks = [...new Set(keys)].sort().map((key) => `${namespace}\0${snapshotter}\0${key}`);
    return locks.reduceRight<() => Promise<T>>((inner, lock) => () => this.#core.backendLock.run(lock, inner), work)();
  }
}
