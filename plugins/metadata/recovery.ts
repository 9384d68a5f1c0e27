import { existsSync, renameSync } from 'node:fs';
import type { Logger } from 'pino';
import type { DamagedDatabase } from '../../lib/sqlite/connection.js';
import { Database, type SpaceReserve } from '../../lib/sqlite/database.js';
import { text } from '../../lib/sqlite/row.js';
import { PARTS, salvage, type Tables } from '../../lib/sqlite/salvage.js';
import { EXPIRE } from './gc-labels.js';
import { SCHEMA } from './schema.js';

/** What is worth having; orphans are found again by looking. */
const TABLES: Tables = {
  namespaces: ['name'],
  images: ['ns', 'name'],
  containers: ['ns', 'id'],
  sandboxes: ['ns', 'id'],
  content: ['ns', 'digest'],
  ingests: ['ns', 'ref'],
  snapshots: ['ns', 'snapshotter', 'key'],
  leases: ['ns', 'id'],
  lease_resources: ['ns', 'lease', 'type', 'id'],
};

const DAY = 86_400_000;

export interface Recovered {
  readonly database: Database;
  /** Records are missing: what the backends hold beyond them must not be taken for garbage. */
  readonly lossy: boolean;
}

/** So that no backend name is used twice, though the counter may be lost: seconds run ahead of any count. */
const restartSequence = (database: Database): Promise<unknown> =>
  database.mutate((sql) => sql.run('UPDATE sequence SET next = max(next, ?)', Math.floor(Date.now() / 1000)));

/** Keeps everything recorded for a day: what referred to it may be among the losses. */
async function holdAll(database: Database): Promise<void> {
  const id = `recovered-${Date.now()}`;
  const labels = JSON.stringify({ [EXPIRE]: new Date(Date.now() + DAY).toISOString() });
  const hold = 'INSERT OR IGNORE INTO lease_resources';
  await database.mutate((sql) => {
    sql.run('INSERT OR IGNORE INTO namespaces SELECT DISTINCT ns, ? FROM content', '{}');
    sql.run('INSERT OR IGNORE INTO namespaces SELECT DISTINCT ns, ? FROM snapshots', '{}');
    for (const namespace of sql.all('SELECT name FROM namespaces').map((row) => text(row, 'name'))) {
      const created = BigInt(Date.now()) * 1_000_000n;
      sql.run('INSERT OR IGNORE INTO leases VALUES (?, ?, ?, ?)', namespace, id, labels, created);
      sql.run(`${hold} SELECT ns, ?, 'content', digest FROM content WHERE ns = ?`, id, namespace);
      sql.run(`${hold} SELECT ns, ?, 'snapshots/' || snapshotter, key FROM snapshots WHERE ns = ?`, id, namespace);
    }
  });
}

/**
 * Puts the damaged database aside and makes a new one of what can be read of
 * it; what cannot is taken from the last copy, if there is one. The damaged
 * file is kept.
 */
export async function recover(
  file: string,
  backup: string,
  { reserve, log, damage }: { readonly reserve: SpaceReserve; readonly log: Logger; readonly damage: DamagedDatabase },
): Promise<Recovered> {
  const aside = `${file}.damaged-${new Date().toISOString().replaceAll(':', '-')}`;
  for (const part of PARTS) if (existsSync(`${file}${part}`)) renameSync(`${file}${part}`, `${aside}${part}`);
  const database = await Database.open(file, SCHEMA, reserve);
  const read = await salvage(aside, database, TABLES);
  const copied = !read.complete && existsSync(backup) ? await salvage(backup, database, TABLES) : undefined;
  await restartSequence(database);
  if (!read.complete) await holdAll(database);
  log.error(
    { err: damage, kept: aside, recovered: read.rows, complete: read.complete, fromCopy: copied?.rows ?? 0 },
    read.complete
      ? 'the metadata database was damaged; all records were recovered'
      : 'the metadata database was damaged and records may be lost; what is left is kept for a day: pull what is missing',
  );
  return { database, lossy: !read.complete };
}
