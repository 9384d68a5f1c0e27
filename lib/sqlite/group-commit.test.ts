import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { hasCode } from '../../kernel/errors.js';
import { scratch } from '../../test/harness/scratch.js';
import { Database, type Schema } from './database.js';

const SCHEMA: Schema = {
  applicationId: 0x7465_7374,
  version: 1,
  create: 'CREATE TABLE things (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID',
};

async function withDatabase(body: (database: Database) => Promise<void>): Promise<void> {
  await using directory = await scratch('sqlite');
  const database = await Database.open(join(directory.path, 'test.sqlite'), SCHEMA);
  try {
    await body(database);
  } finally {
    await database.close();
  }
}

const put = (database: Database, name: string): Promise<number> =>
  database.mutate((sql) => sql.run('INSERT INTO things VALUES (?, 1)', name));

/** Transactions begun on that connection. */
function countTransactions(database: Database): () => number {
  const { connection } = database;
  const exec = connection.exec.bind(connection);
  let begun = 0;
  connection.exec = (sql) => {
    if (sql.startsWith('BEGIN')) begun += 1;
    exec(sql);
  };
  return () => begun;
}

describe('group commit', () => {
  it('16 concurrent puts share one transaction; one after another they take 16', () =>
    withDatabase(async (database) => {
      const transactions = countTransactions(database);
      await Promise.all(Array.from({ length: 16 }, (_, i) => put(database, `together ${i}`)));
      assert.equal(transactions(), 1);
      for (let i = 0; i < 16; i += 1) await put(database, `alone ${i}`);
      assert.equal(transactions(), 17);
    }));

  it('what is asked for while it closes is refused, what was asked for before is kept', () =>
    withDatabase(async (database) => {
      const before = put(database, 'before');
      const closing = database.close();
      await assert.rejects(put(database, 'after'), (error) => hasCode(error, 'FAILED_PRECONDITION'));
      await Promise.all([before, closing]);
    }));
});
