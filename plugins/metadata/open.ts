import type { Logger } from 'pino';
import { Database } from '../../lib/sqlite/database.js';
import { Reserve } from '../../lib/sqlite/reserve.js';
import { SCHEMA } from './schema.js';

/** Bytes: enough for the log of a few hundred deletions. */
const RESERVE = 2 * 1024 * 1024;

export interface Records {
  readonly database: Database;
  close(): Promise<void>;
}

/** Opens the database of records. */
export async function openRecords(file: string, log: Logger): Promise<Records> {
  const reserve = new Reserve(`${file}.reserve`, {
    size: RESERVE,
    onRelease: () => log.warn({ file }, 'disk full: using the reserve to remove things'),
  });
  const database = await Database.open(file, SCHEMA, reserve);
  return { database, close: () => database.close() };
}
