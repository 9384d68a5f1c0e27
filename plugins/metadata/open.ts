import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import { DamagedDatabase } from '../../lib/sqlite/connection.js';
import { Database, type SpaceReserve } from '../../lib/sqlite/database.js';
import { Reserve } from '../../lib/sqlite/reserve.js';
import { Backup } from './backup.js';
import { type Recovered, recover } from './recovery.js';
import { SCHEMA } from './schema.js';

/** Bytes: enough for the log of a few hundred deletions. */
const RESERVE = 2 * 1024 * 1024;

export interface Records extends Recovered {
  readonly backup: Backup;
  close(): Promise<void>;
}

async function openOrRecover(file: string, backup: string, reserve: SpaceReserve, log: Logger): Promise<Recovered> {
  try {
    // A lost file is damage too; without a copy it is a first start.
    if (!existsSync(file) && existsSync(backup)) throw new DamagedDatabase(`"${file}" is missing`);
    return { database: await Database.open(file, SCHEMA, reserve), lossy: false };
  } catch (damage) {
    if (!(damage instanceof DamagedDatabase)) throw damage;
    return recover(file, backup, { reserve, log, damage });
  }
}

/** Opens the database of records; a damaged one is replaced by what can be recovered of it. */
export async function openRecords(file: string, log: Logger): Promise<Records> {
  const reserve = new Reserve(`${file}.reserve`, {
    size: RESERVE,
    onRelease: () => log.warn({ file }, 'disk full: using the reserve to remove things'),
  });
  const copy = `${file}.backup`;
  const { database, lossy } = await openOrRecover(file, copy, reserve, log);
  const backup = new Backup(database, copy, log);
  return {
    database,
    lossy,
    backup,
    async close() {
      await backup.stop();
      await database.close();
    },
  };
}
