/** Columns of a row with their type checked: a damaged file must not pass for data. */
import type { SQLOutputValue } from 'node:sqlite';
import { dataLoss } from '../../kernel/errors.js';

/** Integers come as bigint. */
export type Row = Readonly<Record<string, SQLOutputValue>>;

const wrong = (column: string, expected: string): Error =>
  dataLoss(`database: column "${column}" holds no ${expected}`, { remedy: 'the file is damaged: restart the daemon' });

export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw wrong(column, 'text');
  return value;
}

export function integer(row: Row, column: string): bigint {
  const value = row[column];
  if (typeof value !== 'bigint') throw wrong(column, 'integer');
  return value;
}

/** An integer that is exact as a number: a size, a count. */
export function size(row: Row, column: string): number {
  const value = Number(integer(row, column));
  if (!Number.isSafeInteger(value)) throw wrong(column, 'safe integer');
  return value;
}

export function bytes(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw wrong(column, 'bytes');
  return value;
}

/** A JSON object whose values are strings. */
export function stringMap(row: Row, column: string): Readonly<Record<string, string>> {
  const json = text(row, column);
  if (json === '{}') return {};
  const value = parseJson(json, column);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(column, 'JSON object');
  const entries = Object.entries(value).map(([key, item]) => {
    if (typeof item !== 'string') throw wrong(column, 'map of strings');
    return [key, item] as const;
  });
  return Object.fromEntries(entries);
}

function parseJson(json: string, column: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw wrong(column, 'JSON');
  }
}
