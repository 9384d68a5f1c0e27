/** Getting rows out of a database that is damaged. */
import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import type { Database, Writer } from './database.js';
import { isFull, isSqliteError } from './errors.js';

/** Rows written in one transaction. */
const BATCH = 500;

/** Tables with the columns of their primary keys. */
export type Tables = Readonly<Record<string, readonly string[]>>;

export interface Salvaged {
  readonly rows: number;
  /** Nothing was unreadable, as far as can be told. */
  readonly complete: boolean;
}

type Values = readonly SQLOutputValue[];

/** Suffixes of the files that make up a database. */
export const PARTS = ['', '-wal'] as const;

const identityOf = (values: Values): string =>
  JSON.stringify(values, (_, value) => (typeof value === 'bigint' ? String(value) : value));

/** Reads on until the first damaged page; false when there was one. */
function read(source: DatabaseSync, sql: string, into: Map<string, Values>): boolean {
  try {
    const statement = source.prepare(sql);
    statement.setReadBigInts(true);
    for (const row of statement.iterate()) {
      const values = Object.values(row);
      into.set(identityOf(values), values);
    }
    return true;
  } catch (error) {
    if (!isSqliteError(error)) throw error;
    return false;
  }
}

/** All rows that can be read from either end. */
function readTable(source: DatabaseSync, table: string, keys: readonly string[]) {
  const found = new Map<string, Values>();
  const forwards = `SELECT * FROM ${table} ORDER BY ${keys.join(', ')}`;
  const backwards = `SELECT * FROM ${table} ORDER BY ${keys.map((key) => `${key} DESC`).join(', ')}`;
  const complete = read(source, forwards, found);
  if (!complete) read(source, backwards, found);
  return { rows: [...found.values()], complete };
}

/** False when the row is no row of that table. */
function add(sql: Writer, table: string, values: Values): boolean {
  try {
    sql.run(`INSERT OR IGNORE INTO ${table} VALUES (${values.map(() => '?').join(', ')})`, ...values);
    return true;
  } catch (error) {
    if (!isSqliteError(error) || isFull(error)) throw error;
    return false;
  }
}

async function copyTables(source: DatabaseSync, target: Database, tables: Tables): Promise<Salvaged> {
  let added = 0;
  let complete = true;
  for (const [table, keys] of Object.entries(tables)) {
    const { rows, complete: readAll } = readTable(source, table, keys);
    let taken = 0;
    for (let start = 0; start < rows.length; start += BATCH) {
      const batch = rows.slice(start, start + BATCH);
      taken += await target.mutate((sql) => batch.filter((values) => add(sql, table, values)).length);
    }
    added += taken;
    complete &&= readAll && taken === rows.length;
  }
  return { rows: added, complete };
}

/**
 * Copies what can be read of `tables` from a database file, damaged or whole,
 * into an open one of the same schema. Rows whose key is there already stay.
 * The file is not touched.
 */
export async function salvage(file: string, target: Database, tables: Tables): Promise<Salvaged> {
  const copy = `${file}.reading`;
  for (const part of PARTS) if (existsSync(`${file}${part}`)) copyFileSync(`${file}${part}`, `${copy}${part}`);
  try {
    using source = new DatabaseSync(copy);
    source.exec('PRAGMA locking_mode = EXCLUSIVE');
    return await copyTables(source, target, tables);
  } catch (error) {
    if (!isSqliteError(error) || isFull(error)) throw error;
    return { rows: 0, complete: false };
  } finally {
    for (const part of PARTS) rmSync(`${copy}${part}`, { force: true });
  }
}
