/** Errors of SQLite in terms of the taxonomy (https://www.sqlite.org/rescode.html). */
import { type ErrorCode, KeelsonError } from '../../kernel/errors.js';

/** Primary result codes that mean something to a caller. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  5: 'UNAVAILABLE', // SQLITE_BUSY
  6: 'UNAVAILABLE', // SQLITE_LOCKED
  8: 'FAILED_PRECONDITION', // SQLITE_READONLY
  10: 'DATA_LOSS', // SQLITE_IOERR
  11: 'DATA_LOSS', // SQLITE_CORRUPT
  13: 'RESOURCE_EXHAUSTED', // SQLITE_FULL
  14: 'FAILED_PRECONDITION', // SQLITE_CANTOPEN
  26: 'DATA_LOSS', // SQLITE_NOTADB
};

const FULL = 13;
const BUSY = 5;
const DAMAGED = [11, 26];

/** The primary result code: the low byte of an extended one. */
function resultCode(error: unknown): number | undefined {
  const isSqlite = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
  return isSqlite ? Number(error.errcode) & 0xff : undefined;
}

export const isSqliteError = (error: unknown): boolean => resultCode(error) !== undefined;

export const isFull = (error: unknown): boolean => resultCode(error) === FULL;

export const isBusy = (error: unknown): boolean => resultCode(error) === BUSY;

/** True when the file is no database, or one that contradicts itself. */
export const isDamaged = (error: unknown): boolean => DAMAGED.includes(resultCode(error) ?? 0);

/** An error of SQLite as one of the taxonomy; any other error is returned as it is. */
export function sqliteError(error: unknown, doing: string): unknown {
  const code = resultCode(error);
  if (code === undefined || !(error instanceof Error)) return error;
  const remedy = code === FULL ? { remedy: 'free disk space (removing images works on a full disk)' } : {};
  return new KeelsonError(CODES[code] ?? 'INTERNAL', `${doing}: ${error.message}`, { cause: error, ...remedy });
}
