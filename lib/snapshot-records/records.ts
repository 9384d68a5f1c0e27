/**
 * What a snapshotter must remember about its snapshots: one small SQLite
 * database of its own. Reads see only what is durable; changes are validated
 * and made durable in one transaction (see group-commit.ts).
 *
 * Ids name storage. They are never used twice, so that the leftovers of a
 * removed snapshot can be deleted at any later time.
 */
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { alreadyExists, dataLoss, failedPrecondition, invalidArgument, notFound } from '../../kernel/errors.js';
import { updateLabels, withoutEmpty } from '../labels.js';
import { now } from '../rpc/timestamp.js';
import { GroupCommit, sqliteError } from './group-commit.js';

type Labels = Readonly<Record<string, string>>;

export const KINDS = ['view', 'active', 'committed'] as const;
export type SnapshotKind = (typeof KINDS)[number];

export interface SnapshotUsage {
  readonly inodes: number;
  /** Bytes. */
  readonly size: number;
}

export interface SnapshotRecord {
  readonly id: number;
  readonly kind: SnapshotKind;
  readonly name: string;
  /** Empty for a base. */
  readonly parent: string;
  /** Nanoseconds since the Unix epoch. */
  readonly createdAt: bigint;
  readonly updatedAt: bigint;
  readonly labels: Labels;
  /** Of a committed snapshot; zeros for others. */
  readonly usage: SnapshotUsage;
}

export interface NewSnapshot {
  readonly id: number;
  readonly kind: 'view' | 'active';
  readonly key: string;
  readonly parent: string;
  readonly labels: Labels;
}

export interface CommitRecord {
  readonly name: string;
  readonly key: string;
  readonly labels: Labels;
  readonly usage: SnapshotUsage;
  /** Parent to take instead of none; empty to keep the present one. */
  readonly parent: string;
}

const VERSION = 1;

/** AUTOINCREMENT remembers the highest id ever used. */
const SCHEMA = `
CREATE TABLE snapshots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  parent INTEGER REFERENCES snapshots(id),
  kind TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  labels TEXT NOT NULL,
  inodes INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX snapshots_parent ON snapshots(parent);
PRAGMA user_version = ${VERSION};
`;

const COLUMNS = `s.id, s.name, s.kind, s.created, s.updated, s.labels, s.inodes, s.size, coalesce(p.name, '') AS parent
  FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent`;

const PAGE = 256;

type Row = Record<string, SQLOutputValue>;

function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw dataLoss(`snapshot records: column "${column}" holds no text`);
  return value;
}

function integer(row: Row, column: string): bigint {
  const value = row[column];
  if (typeof value !== 'bigint') throw dataLoss(`snapshot records: column "${column}" holds no integer`);
  return value;
}

function parseLabels(json: string): Labels {
  const value: unknown = JSON.parse(json);
  if (typeof value !== 'object' || value === null) throw dataLoss('snapshot records: labels are not an object');
  return Object.fromEntries(Object.entries(value).map(([key, label]) => [key, String(label)]));
}

function toRecord(row: Row): SnapshotRecord {
  const kind = KINDS.find((known) => known === row.kind);
  if (kind === undefined) throw dataLoss(`snapshot records: unknown kind "${row.kind}"`);
  return {
    id: Number(integer(row, 'id')),
    kind,
    name: text(row, 'name'),
    parent: text(row, 'parent'),
    createdAt: integer(row, 'created'),
    updatedAt: integer(row, 'updated'),
    labels: parseLabels(text(row, 'labels')),
    usage: { inodes: Number(integer(row, 'inodes')), size: Number(integer(row, 'size')) },
  };
}

function openDatabase(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { readBigInts: true });
  try {
    // Exclusive: one process owns the records, and needs no shared memory file for that.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    const row = database.prepare('PRAGMA user_version').get();
    const version = row === undefined ? -1 : Number(row.user_version);
    if (version === 0) database.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
    else if (version !== VERSION) {
      throw failedPrecondition(`open "${file}": its version is ${version}, this daemon knows ${VERSION}`, {
        remedy: 'use the daemon that wrote it',
      });
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export class SnapshotRecords implements Disposable {
  readonly #database: DatabaseSync;
  readonly #commits: GroupCommit;
  readonly #statements: Readonly<Record<keyof typeof STATEMENTS, StatementSync>>;
  #lastId: number;

  private constructor(database: DatabaseSync, file: string) {
    this.#database = database;
    this.#commits = new GroupCommit(database, `"${file}"`);
    this.#statements = prepare(database);
    this.#lastId = Number(this.#statements.lastId.get()?.seq ?? 0);
  }

  /**
   * Opens or creates the records. UNAVAILABLE while another process has them open,
   * FAILED_PRECONDITION when a newer version wrote them, DATA_LOSS when they are damaged.
   */
  static open(file: string): SnapshotRecords {
    try {
      return new SnapshotRecords(openDatabase(file), file);
    } catch (error) {
      throw sqliteError(error, `open snapshot records "${file}"`);
    }
  }

  /** An id for storage that is about to be made. */
  reserveId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Tells that an id is taken by storage found on disk. */
  skipId(id: number): void {
    this.#lastId = Math.max(this.#lastId, id);
  }

  find(name: string): SnapshotRecord | undefined {
    const row = this.#statements.find.get(name);
    return row === undefined ? undefined : toRecord(row);
  }

  /** NOT_FOUND. */
  get(name: string): SnapshotRecord {
    const record = this.find(name);
    if (record === undefined) throw notFound(`snapshot "${name}" does not exist`);
    return record;
  }

  /** One that has mounts. NOT_FOUND; FAILED_PRECONDITION when it is committed. */
  getMountable(key: string): SnapshotRecord {
    const record = this.get(key);
    if (record.kind !== 'committed') return record;
    throw failedPrecondition(`snapshot "${key}" is committed and has no mounts`, {
      remedy: 'prepare or view a snapshot on it',
    });
  }

  /** Ids of a snapshot's ancestors, nearest first. */
  ancestors(id: number): number[] {
    return this.#statements.ancestors.all(id).map((row) => Number(integer(row, 'id')));
  }

  /** Every id in use. */
  ids(): Set<number> {
    return new Set(this.#statements.ids.all().map((row) => Number(integer(row, 'id'))));
  }

  /** In order of name, read in pages: changes made meanwhile may or may not show. */
  *walk(): Generator<SnapshotRecord> {
    let after = '';
    for (;;) {
      const page = this.#statements.page.all(after, PAGE).map(toRecord);
      yield* page;
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.name;
    }
  }

  /** The parent that a new snapshot may have. NOT_FOUND; INVALID_ARGUMENT unless it is committed. */
  parent(name: string): SnapshotRecord {
    const parent = this.find(name);
    if (parent === undefined) throw notFound(`parent snapshot "${name}" does not exist`);
    if (parent.kind !== 'committed') {
      throw invalidArgument(`parent snapshot "${name}" is ${parent.kind}, not committed`);
    }
    return parent;
  }

  /** INVALID_ARGUMENT for an empty key; ALREADY_EXISTS; as {@link parent}. */
  checkNew(key: string, parent: string): SnapshotRecord | undefined {
    if (key === '') throw invalidArgument('a snapshot needs a key that is not empty');
    if (this.find(key) !== undefined) throw alreadyExists(`snapshot "${key}" exists already`);
    return parent === '' ? undefined : this.parent(parent);
  }

  /** As {@link checkNew}. */
  create({ id, kind, key, parent, labels }: NewSnapshot): Promise<SnapshotRecord> {
    return this.#commits.run(() => {
      const parentId = this.checkNew(key, parent)?.id ?? null;
      const time = now();
      this.#statements.insert.run(id, key, parentId, kind, time, time, JSON.stringify(withoutEmpty(labels)));
      return this.get(key);
    });
  }

  /** What {@link commit} would say. The active snapshot that is to be committed. */
  checkCommit(name: string, key: string, newParent: string): SnapshotRecord {
    if (name === '') throw invalidArgument(`commit of snapshot "${key}" needs a name that is not empty`);
    const record = this.get(key);
    if (record.kind !== 'active') {
      throw failedPrecondition(`snapshot "${key}" cannot be committed: it is ${record.kind}, not active`);
    }
    if (this.find(name) !== undefined) throw alreadyExists(`snapshot "${name}" exists already`);
    if (newParent === '' || newParent === record.parent) return record;
    if (record.parent !== '') {
      throw invalidArgument(`snapshot "${key}" cannot get parent "${newParent}": it has parent "${record.parent}"`);
    }
    this.parent(newParent);
    return record;
  }

  /**
   * Turns an active snapshot into a committed one under another name; its labels are replaced.
   * NOT_FOUND; FAILED_PRECONDITION; ALREADY_EXISTS; INVALID_ARGUMENT for a second parent.
   */
  commit({ name, key, labels, usage, parent }: CommitRecord): Promise<SnapshotRecord> {
    return this.#commits.run(() => {
      const record = this.checkCommit(name, key, parent);
      const newParent = parent === '' ? record.parent : parent;
      const parentId = newParent === '' ? null : this.parent(newParent).id;
      const kept = JSON.stringify(withoutEmpty(labels));
      this.#statements.commit.run(name, parentId, now(), kept, usage.inodes, usage.size, record.id);
      return this.get(name);
    });
  }

  /** NOT_FOUND; FAILED_PRECONDITION while a child exists. */
  remove(name: string): Promise<SnapshotRecord> {
    return this.#commits.run(() => {
      const record = this.get(name);
      const child = this.#statements.child.get(record.id);
      if (child !== undefined) {
        throw failedPrecondition(`cannot remove snapshot "${name}": "${text(child, 'name')}" has it as its parent`);
      }
      this.#statements.remove.run(record.id);
      return record;
    });
  }

  /** NOT_FOUND; INVALID_ARGUMENT for mask paths other than `labels` and `labels.KEY`. */
  update(name: string, labels: Labels, mask?: readonly string[]): Promise<SnapshotRecord> {
    return this.#commits.run(() => {
      const record = this.get(name);
      const updated = updateLabels(`snapshot "${name}"`, record.labels, labels, mask);
      this.#statements.update.run(now(), JSON.stringify(withoutEmpty(updated)), record.id);
      return this.get(name);
    });
  }

  /** Makes pending changes durable first. Idempotent. */
  close(): void {
    if (!this.#database.isOpen) return;
    this.#commits.close();
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const STATEMENTS = {
  lastId: "SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'",
  find: `SELECT ${COLUMNS} WHERE s.name = ?`,
  page: `SELECT ${COLUMNS} WHERE s.name > ? ORDER BY s.name LIMIT ?`,
  ids: 'SELECT id FROM snapshots',
  ancestors: `WITH RECURSIVE chain(id, depth) AS (
      SELECT parent, 1 FROM snapshots WHERE id = ?
      UNION ALL SELECT s.parent, depth + 1 FROM chain JOIN snapshots s ON s.id = chain.id
    ) SELECT id FROM chain WHERE id IS NOT NULL ORDER BY depth`,
  insert: 'INSERT INTO snapshots (id, name, parent, kind, created, updated, labels) VALUES (?, ?, ?, ?, ?, ?, ?)',
  commit: `UPDATE snapshots SET name = ?1, parent = ?2, kind = 'committed', created = ?3, updated = ?3,
      labels = ?4, inodes = ?5, size = ?6 WHERE id = ?7`,
  child: 'SELECT name FROM snapshots WHERE parent = ? LIMIT 1',
  remove: 'DELETE FROM snapshots WHERE id = ?',
  update: 'UPDATE snapshots SET updated = ?, labels = ? WHERE id = ?',
} as const;

function prepare(database: DatabaseSync): Readonly<Record<keyof typeof STATEMENTS, StatementSync>> {
  const of = (name: keyof typeof STATEMENTS): StatementSync => database.prepare(STATEMENTS[name]);
  return {
    lastId: of('lastId'),
    find: of('find'),
    page: of('page'),
    ids: of('ids'),
    ancestors: of('ancestors'),
    insert: of('insert'),
    commit: of('commit'),
    child: of('child'),
    remove: of('remove'),
    update: of('update'),
  };
}
