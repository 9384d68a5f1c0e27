/** One process's exclusive connection to a database file in write-ahead-log mode. */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { failedPrecondition } from '../../kernel/errors.js';
import { readKernelFile } from '../linux/kernel-file.js';
import { isBusy, isDamaged, isFull, sqliteError } from './errors.js';
import type { Row } from './row.js';

export type Param = string | number | bigint | Uint8Array | null;

export interface Schema {
  /** Marks the file as ours (PRAGMA application_id). */
  readonly applicationId: number;
  /** PRAGMA user_version. */
  readonly version: number;
  /** Makes the tables of an empty database. */
  readonly create: string;
  /** What makes a database of an earlier version one of the next, by that earlier version. */
  readonly upgrades?: Readonly<Record<number, string>>;
}

/** Thrown when the file cannot be a healthy database: callers may repair. */
export class DamagedDatabase extends Error {
  override readonly name = 'DamagedDatabase';
}

/** Offset of user_version in the header (https://www.sqlite.org/fileformat.html#the_database_header). */
const VERSION_OFFSET = 60;

/** The schema version that the file itself says, read without opening it as a database. */
function versionInHeader(file: string): number {
  if (!existsSync(file)) return 0;
  const descriptor = openSync(file, 'r');
  try {
    const header = Buffer.alloc(VERSION_OFFSET + 4);
    const read = readSync(descriptor, header, 0, header.byteLength, 0);
    const isSqlite = read === header.byteLength && header.toString('latin1', 0, 15) === 'SQLite format 3';
    return isSqlite ? header.readUInt32BE(VERSION_OFFSET) : 0;
  } finally {
    closeSync(descriptor);
  }
}

/** The process that holds a lock on the file (proc_locks(5)). */
function lockHolder(file: string): string {
  const { ino } = statSync(file);
  const line = readKernelFile('/proc/locks')
    .split('\n')
    .find((entry) => entry.includes('POSIX') && entry.includes(`:${ino} `));
  const pid = line?.split(/\s+/)[4];
  return pid === undefined ? 'another process' : `process ${pid}`;
}

/** Versions ahead of ours that may be real; beyond, the number itself is damaged. */
const PLAUSIBLE = 1000;

function refuseNewer(file: string, version: number, known: number): void {
  if (version <= known) return;
  if (version > known + PLAUSIBLE) throw new DamagedDatabase(`"${file}" is damaged: its schema version is ${version}`);
  throw failedPrecondition(`open "${file}": it was written by a newer version (schema ${version}, known is ${known})`, {
    remedy: 'use the newer version, or give this one another root directory',
  });
}

function openFile(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file, { timeout: 0 });
  } catch (error) {
    throw sqliteError(error, `open "${file}"`);
  }
}

export class Connection {
  readonly file: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(file: string, database: DatabaseSync) {
    this.file = file;
    this.#database = database;
  }

  /**
   * Opens the file, or makes it. FAILED_PRECONDITION while another process has it open or when
   * a newer version wrote it (nothing is written then); {@link DamagedDatabase} when it is broken.
   */
  static open(file: string, schema: Schema): Connection {
    refuseNewer(file, versionInHeader(file), schema.version);
    const connection = new Connection(file, openFile(file));
    try {
      connection.#prepare(schema);
      return connection;
    } catch (error) {
      connection.close();
      if (isBusy(error))
        throw failedPrecondition(`open "${file}": it is in use by ${lockHolder(file)}`, { cause: error });
      if (isDamaged(error)) throw new DamagedDatabase(`"${file}" is damaged`, { cause: error });
      throw sqliteError(error, `open "${file}"`);
    }
  }

  get inTransaction(): boolean {
    return this.#database.isTransaction;
  }

  /** The open database, for what needs it whole (backup). */
  get database(): DatabaseSync {
    return this.#database;
  }

  exec(sql: string): void {
    this.#database.exec(sql);
  }

  get(sql: string, params: readonly Param[]): Row | undefined {
    return this.#statement(sql).get(...params);
  }

  all(sql: string, params: readonly Param[]): readonly Row[] {
    return this.#statement(sql).all(...params);
  }

  /** Resolves to the number of rows changed. */
  run(sql: string, params: readonly Param[]): number {
    return Number(this.#statement(sql).run(...params).changes);
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#database.prepare(sql);
    statement.setReadBigInts(true);
    this.#statements.set(sql, statement);
    return statement;
  }

  #prepare(schema: Schema): void {
    // Exclusive, before anything is read: no shared memory file, and nobody else can open it.
    this.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY');
    const isNew = this.get('SELECT 1 FROM sqlite_schema LIMIT 1', []) === undefined;
    if (!isNew && this.#pragma('application_id') !== schema.applicationId) {
      throw new DamagedDatabase(`"${this.file}" is damaged, or a database of another program`);
    }
    refuseNewer(this.file, this.#pragma('user_version'), schema.version);
    this.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0');
    if (isNew) this.#create(schema);
    else this.#upgrade(schema);
    const check = this.get('PRAGMA quick_check(1)', [])?.quick_check;
    if (check !== 'ok') throw new DamagedDatabase(`"${this.file}" is damaged: ${String(check)}`);
    // So that the log exists from here on.
    this.exec('BEGIN IMMEDIATE; COMMIT');
  }

  #create({ applicationId, version, create }: Schema): void {
    this.exec('BEGIN IMMEDIATE');
    this.exec(`${create}; PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${version}; COMMIT`);
  }

  /** From version to version, each in a transaction. */
  #upgrade({ version, upgrades = {} }: Schema): void {
    for (let found = this.#pragma('user_version'); found < version; found += 1) {
      const upgrade = upgrades[found];
      if (upgrade === undefined) throw new DamagedDatabase(`"${this.file}" is damaged: its schema version is ${found}`);
      try {
        this.exec(`BEGIN IMMEDIATE; ${upgrade}; PRAGMA user_version = ${found + 1}; COMMIT`);
      } catch (error) {
        if (isFull(error) || isBusy(error)) throw error;
        throw new DamagedDatabase(`"${this.file}" is damaged: it is not of schema version ${found}`, { cause: error });
      }
    }
  }

  #pragma(name: string): number {
    return Number(Object.values(this.get(`PRAGMA ${name}`, []) ?? {})[0] ?? 0);
  }
}
