/**
 * What a snapshotter must remember about its snapshots: one small SQLite
 * database of its own. Changes are validated
 * and made durable in one transaction, shared with others of the same turn.
 *
 * Ids name storage. They are never used twice, so that the leftovers of a
 * removed snapshot can be deleted at any later time.
 */
import { alreadyExists, dataLoss, failedPrecondition, invalidArgument, notFound } from '../../kernel/errors.js';
import { failpoint } from '../failpoint.js';
import { updateLabels, withoutEmpty } from '../labels.js';
import { now } from '../rpc/timestamp.js';
import { DamagedDatabase, type Schema } from '../sqlite/connection.js';
import { Database, type MutateOptions, type Writer } from '../sqlite/database.js';
import { Reserve } from '../sqlite/reserve.js';
import { integer, type Row, size, stringMap, text } from '../sqlite/row.js';

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
  /** The boot during which its files were written, which are not known to be on disk. */
  readonly boot: string;
}

/** A committed snapshot whose files were not known to be on disk. */
export interface UnsyncedRecord {
  readonly id: number;
  readonly name: string;
  readonly boot: string;
}

const UNSYNCED = 'CREATE TABLE IF NOT EXISTS unsynced (id INTEGER PRIMARY KEY, boot TEXT NOT NULL) STRICT';

/** AUTOINCREMENT remembers the highest id ever used. */
const SCHEMA: Schema = {
  // "ksnp"
  applicationId: 0x6b73_6e70,
  version: 1,
  create: `
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
    ${UNSYNCED}`,
};

const SELECT = `SELECT s.id, s.name, s.kind, s.created, s.updated, s.labels, s.inodes, s.size, coalesce(p.name, '') AS parent
  FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent`;

const ANCESTORS = `WITH RECURSIVE chain(id, depth) AS (
    SELECT parent, 1 FROM snapshots WHERE id = ?
    UNION ALL SELECT s.parent, depth + 1 FROM chain JOIN snapshots s ON s.id = chain.id
  ) SELECT id FROM chain WHERE id IS NOT NULL ORDER BY depth`;

const INSERT = 'INSERT INTO snapshots (id, name, parent, kind, created, updated, labels) VALUES (?, ?, ?, ?, ?, ?, ?)';

const COMMIT = `UPDATE snapshots SET name = ?1, parent = ?2, kind = 'committed', created = ?3, updated = ?3,
  labels = ?4, inodes = ?5, size = ?6 WHERE id = ?7`;

const PAGE = 256;

/** Bytes set aside for removals on a full disk. */
const RESERVE = 256 * 1024;

function toRecord(row: Row): SnapshotRecord {
  const kind = KINDS.find((known) => known === row.kind);
  if (kind === undefined) throw dataLoss(`snapshot records: unknown kind "${row.kind}"`);
  return {
    id: size(row, 'id'),
    kind,
    name: text(row, 'name'),
    parent: text(row, 'parent'),
    createdAt: integer(row, 'created'),
    updatedAt: integer(row, 'updated'),
    labels: stringMap(row, 'labels'),
    usage: { inodes: size(row, 'inodes'), size: size(row, 'size') },
  };
}

const toJson = (labels: Labels): string => JSON.stringify(withoutEmpty(labels));

export class SnapshotRecords {
  readonly #database: Database;
  #lastId: number;

  private constructor(database: Database) {
    this.#database = database;
    const row = database.get("SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'");
    this.#lastId = row === undefined ? 0 : size(row, 'seq');
  }

  /**
   * Opens or creates the records. FAILED_PRECONDITION while another process has them open or
   * when a newer version wrote them, DATA_LOSS when they are damaged. `warn` is told when the
   * disk is full.
   */
  static async open(file: string, warn: (message: string) => void): Promise<SnapshotRecords> {
    const reserve = new Reserve(`${file}.reserve`, {
      size: RESERVE,
      onRelease: () => warn('disk full: using the reserve to remove snapshots'),
    });
    try {
      const database = await Database.open(file, SCHEMA, reserve);
      // Records of before there was this table have none.
      if (!database.get("SELECT 1 FROM sqlite_schema WHERE name = 'unsynced'"))
        await database.mutate((sql) => sql.run(UNSYNCED));
      return new SnapshotRecords(database);
    } catch (cause) {
      if (!(cause instanceof DamagedDatabase)) throw cause;
      throw dataLoss(`open the records of snapshots: ${cause.message}`, {
        remedy: `move the directory of "${file}" away and pull the images again`,
        cause,
      });
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
    const row = this.#database.get(`${SELECT} WHERE s.name = ?`, name);
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
    return this.#database.all(ANCESTORS, id).map((row) => size(row, 'id'));
  }

  /** Whether an id is in use. */
  has(id: number): boolean {
    return this.#database.get('SELECT 1 FROM snapshots WHERE id = ?', id) !== undefined;
  }

  /** In order of name, read in pages: changes made meanwhile may or may not show. */
  *walk(): Generator<SnapshotRecord> {
    let after = '';
    for (;;) {
      const page = this.#database.all(`${SELECT} WHERE s.name > ? ORDER BY s.name LIMIT ?`, after, PAGE).map(toRecord);
      yield* page;
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.name;
    }
  }

  /** Those that are being written. */
  active(): readonly Pick<SnapshotRecord, 'id' | 'name'>[] {
    const rows = this.#database.all("SELECT id, name FROM snapshots WHERE kind = 'active'");
    return rows.map((row) => ({ id: size(row, 'id'), name: text(row, 'name') }));
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

  /** As {@link checkNew}. `durable`: resolves when it survives a power cut. */
  create({ id, kind, key, parent, labels }: NewSnapshot, durable = true): Promise<SnapshotRecord> {
    const insert = (sql: Writer): SnapshotRecord => {
      const parentId = this.checkNew(key, parent)?.id ?? null;
      const time = now();
      sql.run(INSERT, id, key, parentId, kind, time, time, toJson(labels));
      return this.get(key);
    };
    return this.#change(insert, { durable });
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
  commit({ name, key, labels, usage, parent, boot }: CommitRecord): Promise<SnapshotRecord> {
    return this.#change((sql) => {
      const record = this.checkCommit(name, key, parent);
      const newParent = parent === '' ? record.parent : parent;
      const parentId = newParent === '' ? null : this.parent(newParent).id;
      sql.run(COMMIT, name, parentId, now(), toJson(labels), usage.inodes, usage.size, record.id);
      sql.run('INSERT OR REPLACE INTO unsynced VALUES (?, ?)', record.id, boot);
      return this.get(name);
    });
  }

  /** NOT_FOUND; FAILED_PRECONDITION while a child exists. */
  remove(name: string): Promise<SnapshotRecord> {
    return this.#change(
      (sql) => {
        const record = this.get(name);
        const child = sql.get('SELECT name FROM snapshots WHERE parent = ? LIMIT 1', record.id);
        if (child !== undefined) {
          throw failedPrecondition(`cannot remove snapshot "${name}": "${text(child, 'name')}" has it as its parent`);
        }
        sql.run('DELETE FROM snapshots WHERE id = ?', record.id);
        sql.run('DELETE FROM unsynced WHERE id = ?', record.id);
        return record;
      },
      { frees: true },
    );
  }

  /** Committed snapshots whose files are not known to be on disk, oldest first: parents before children. */
  unsynced(): readonly UnsyncedRecord[] {
    const rows = this.#database.all(
      'SELECT u.id, u.boot, s.name FROM unsynced u JOIN snapshots s ON s.id = u.id ORDER BY s.created, u.id',
    );
    return rows.map((row) => ({ id: size(row, 'id'), name: text(row, 'name'), boot: text(row, 'boot') }));
  }

  /** Their files are on disk now. */
  markSynced(ids: readonly number[]): Promise<void> {
    return this.#change((sql) => {
      for (const id of ids) sql.run('DELETE FROM unsynced WHERE id = ?', id);
    });
  }

  /** NOT_FOUND; INVALID_ARGUMENT for mask paths other than `labels` and `labels.KEY`. */
  update(name: string, labels: Labels, mask?: readonly string[]): Promise<SnapshotRecord> {
    return this.#change((sql) => {
      const record = this.get(name);
      const updated = updateLabels(`snapshot "${name}"`, record.labels, labels, mask);
      sql.run('UPDATE snapshots SET updated = ?, labels = ? WHERE id = ?', now(), toJson(updated), record.id);
      return this.get(name);
    });
  }

  /** Resolves when what was changed until now survives a power cut. */
  flushed(): Promise<void> {
    return this.#database.flushed();
  }

  /** Makes pending changes durable first. Idempotent. */
  close(): Promise<void> {
    return this.#database.close();
  }

  async #change<T>(work: (sql: Writer) => T, options: MutateOptions = {}): Promise<T> {
    const result = await this.#database.mutate(work, options);
    failpoint('snap.record');
    return result;
  }
}
