import type { Logger } from 'pino';
import { Database } from '../../lib/sqlite/database.js';
import { Reserve } from './reserve.js';
import { SCHEMA } from './schema.js';

export interface Records {
  readonly database: Database;
  close(): Promise<void>;
}

/** Opens the database of records. */
export async function openRecords(file: string, log: Logger): Promise<Records> {
  const database = await Database.open(file, SCHEMA, new Reserve(`${file}.reserve`, log));
  return { database, close: () => database.close() };
}
