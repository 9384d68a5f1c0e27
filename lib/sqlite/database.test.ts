import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, mock } from 'node:test';
import { promisify } from 'node:util';
import { failedPrecondition, hasCode } from '../../kernel/errors.js';
import { eventually } from '../../test/harness/eventually.js';
import { scratch } from '../../test/harness/scratch.js';
import { DamagedDatabase } from './connection.js';
import { Database, type Schema, type SpaceReserve } from './database.js';
import { integer, text } from './row.js';

const SCHEMA: Schema = {
  applicationId: 0x7465_7374,
  version: 1,
  create: 'CREATE TABLE things (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID',
};

const PUT = 'INSERT OR REPLACE INTO things VALUES (?, ?)';

const put = (database: Database, name: string, value: number | bigint = 1): Promise<number> =>
  database.mutate((sql) => sql.run(PUT, name, value));

const names = (database: Database): string[] =>
  database.all('SELECT name FROM things ORDER BY name').map((row) => text(row, 'name'));

async function withDatabase(body: (database: Database, file: string) => Promise<void>): Promise<void> {
  await using directory = await scratch('sqlite');
  const file = join(directory.path, 'test.sqlite');
  const database = await Database.open(file, SCHEMA);
  try {
    await body(database, file);
  } finally {
    await database.close();
  }
}

describe('database', () => {
  it('keeps what was put, 64-bit integers exactly, across a restart', () =>
    withDatabase(async (database, file) => {
      await put(database, 'a', 2n ** 62n + 1n);
      await database.close();
      const again = await Database.open(file, SCHEMA);
      const row = again.get('SELECT value FROM things WHERE name = ?', 'a');
      assert.ok(row);
      assert.equal(integer(row, 'value'), 2n ** 62n + 1n);
      await again.close();
    }));

  it('makes one transaction of the mutations of a turn, and undoes only the one that fails', () =>
    withDatabase(async (database) => {
      const outcomes = await Promise.allSettled([
        put(database, 'a'),
        database.mutate((sql) => {
          sql.run(PUT, 'b', 1);
          throw failedPrecondition('no');
        }),
        database.mutate((sql) => sql.run('INSERT INTO things VALUES (?, ?)', 'a', 2)),
        database.mutate((sql) => sql.get('SELECT count(*) AS n FROM things')),
        put(database, 'c'),
      ]);
      const statuses = outcomes.map(({ status }) => status);
      assert.deepEqual(statuses, ['fulfilled', 'rejected', 'rejected', 'fulfilled', 'fulfilled']);
      assert.deepEqual(names(database), ['a', 'c']);
    }));

  it('tells a caller that does not need a power cut survived before the flush', () =>
    withDatabase(async (database) => {
      const order: string[] = [];
      const durable = put(database, 'a').then(() => order.push('durable'));
      const quick = database.mutate((sql) => sql.run(PUT, 'b', 1), { durable: false }).then(() => order.push('quick'));
      await Promise.all([durable, quick]);
      assert.deepEqual(order, ['quick', 'durable']);
    }));

  it('flushes a second later what need not survive at once', () =>
    withDatabase(async (database) => {
      const { mock: flushes } = mock.method(database, 'flushed');
      await database.mutate((sql) => sql.run(PUT, 'a', 1), { durable: 'soon' });
      await database.mutate((sql) => sql.run(PUT, 'b', 1), { durable: 'soon' });
      assert.equal(flushes.callCount(), 0);
      await eventually('the flush', () => flushes.callCount() > 0 || undefined);
      await flushes.calls[0]?.result;
      assert.equal(flushes.callCount(), 1);
      await database.mutate((sql) => sql.run(PUT, 'c', 1), { durable: 'soon' });
    }));

  it('copies its log into the file when there is much of it', () =>
    withDatabase(async (database, file) => {
      for (let batch = 0; batch < 5; batch += 1) {
        await Promise.all(Array.from({ length: 1000 }, (_, i) => put(database, `${batch}-${i}`)));
      }
      await eventually('the file has grown', async () => (await stat(file)).size > 50_000 || undefined);
    }));

  it('refuses to be opened by a second process, naming the first', () =>
    withDatabase(async (_, file) => {
      const program = `
        const { Database } = await import(${JSON.stringify(import.meta.resolve('./database.js'))});
        await Database.open(${JSON.stringify(file)}, ${JSON.stringify(SCHEMA)}).catch((error) => console.log(error.code, error.message));`;
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
      assert.match(stdout, new RegExp(`^FAILED_PRECONDITION .* in use by process ${process.pid}`));
    }));

  it('refuses a newer schema and leaves the file alone', () =>
    withDatabase(async (database, file) => {
      await database.close();
      const newer = await Database.open(file, { ...SCHEMA, version: 1 });
      await newer.mutate((sql) => sql.run(PUT, 'a', 1));
      await newer.close();
      const bytes = await readFile(file);
      bytes.writeUInt32BE(2, 60);
      await writeFile(file, bytes);
      await assert.rejects(Database.open(file, SCHEMA), (error) => hasCode(error, 'FAILED_PRECONDITION'));
      assert.deepEqual(await readFile(file), bytes);
    }));

  it('brings an older schema up to date, version by version, or calls it damaged', () =>
    withDatabase(async (database, file) => {
      await put(database, 'a');
      await database.close();
      const upgrades = { 1: 'ALTER TABLE things ADD COLUMN colour TEXT', 2: "UPDATE things SET colour = 'red'" };
      const upgraded = await Database.open(file, { ...SCHEMA, version: 3, upgrades });
      assert.equal(upgraded.get('SELECT colour FROM things')?.colour, 'red');
      await upgraded.close();
      await assert.rejects(Database.open(file, { ...SCHEMA, version: 4, upgrades }), DamagedDatabase);
    }));

  it("does not take another program's database for its own", () =>
    withDatabase(async (database, file) => {
      await database.close();
      await assert.rejects(Database.open(file, { ...SCHEMA, applicationId: 5 }), DamagedDatabase);
    }));

  for (const damage of ['zeros', 'text', 'cut', 'overwritten page'] as const) {
    it(`says so when the file is damaged: ${damage}`, () =>
      withDatabase(async (database, file) => {
        await Promise.all(Array.from({ length: 2000 }, (_, i) => put(database, `thing number ${i}`)));
        await database.close();
        const { size } = await stat(file);
        if (damage === 'zeros') await writeFile(file, Buffer.alloc(size));
        if (damage === 'text') await writeFile(file, 'this is not a database, '.repeat(100));
        if (damage === 'cut') await truncate(file, size - 8192);
        if (damage === 'overwritten page') {
          const handle = await open(file, 'r+');
          await handle.write(Buffer.alloc(4096, 0xa5), 0, 4096, 8192);
          await handle.close();
        }
        await assert.rejects(Database.open(file, SCHEMA), DamagedDatabase);
      }));
  }

  it('keeps every acknowledged mutation when the process is killed at a commit', async () => {
    await using directory = await scratch('sqlite-kill');
    const file = join(directory.path, 'test.sqlite');
    const program = `
      const { Database } = await import(${JSON.stringify(import.meta.resolve('./database.js'))});
      const database = await Database.open(${JSON.stringify(file)}, ${JSON.stringify(SCHEMA)});
      for (let i = 0; ; i += 1) {
        await database.mutate((sql) => sql.run(${JSON.stringify(PUT)}, 'k' + i, i));
        process.stdout.write(i + '\\n');
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      env: { ...process.env, KEELSON_FAILPOINTS: 'db.commit=57*off->kill' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    await once(child, 'close');
    assert.equal(child.signalCode, 'SIGKILL');
    const acknowledged = output.trim().split('\n').length;
    assert.equal(acknowledged, 57);
    const database = await Database.open(file, SCHEMA);
    const kept = names(database).length;
    await database.close();
    assert.ok(kept === acknowledged || kept === acknowledged + 1, `${kept} of ${acknowledged}`);
    assert.deepEqual(await readdir(directory.path), ['test.sqlite']);
  });

  it('a flush that fails fails its mutations and all later ones: it is not tried again, and closing works', async () => {
    await using directory = await scratch('sqlite-flush');
    const program = `
      const { Database } = await import(${JSON.stringify(import.meta.resolve('./database.js'))});
      const database = await Database.open(${JSON.stringify(join(directory.path, 'test.sqlite'))}, ${JSON.stringify(SCHEMA)});
      const put = (i) => database.mutate((sql) => sql.run(${JSON.stringify(PUT)}, 'k' + i, i));
      const outcomes = await Promise.allSettled([put(1), put(2)]);
      outcomes.push(...(await Promise.allSettled([put(3), database.flushed()])));
      await database.close();
      console.log(outcomes.map(({ reason }) => reason?.code ?? 'put').join());`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
      env: { ...process.env, KEELSON_FAILPOINTS: 'db.flush=1*error->off' },
    });
    assert.equal(stdout.trim(), Array(4).fill('DATA_LOSS').join());
  });

  it('copies a long log while puts go on, and loses none of them', () =>
    withDatabase(async (database, file) => {
      const count = 12_000;
      const puts = Array.from({ length: count }, async (_, index) => {
        // Over many turns, so that checkpoints come between.
        for (let turn = 0; turn < index % 60; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        await put(database, `k${index}`, index);
      });
      await Promise.all(puts);
      assert.equal(names(database).length, count);
      await database.close();
      const again = await Database.open(file, SCHEMA);
      assert.equal(names(again).length, count);
      await again.close();
    }));

  it('admits only what frees space while the reserve is used up', async () => {
    await using directory = await scratch('sqlite-reserve');
    let there = true;
    const reserve: SpaceReserve = { release: () => there, ready: () => there };
    const database = await Database.open(join(directory.path, 'test.sqlite'), SCHEMA, reserve);
    await put(database, 'a');
    there = false;
    await assert.rejects(put(database, 'b'), (error) => hasCode(error, 'RESOURCE_EXHAUSTED'));
    await database.mutate((sql) => sql.run('DELETE FROM things'), { frees: true });
    assert.deepEqual(names(database), []);
    await database.close();
    await assert.rejects(put(database, 'c'), (error) => hasCode(error, 'FAILED_PRECONDITION'));
  });
});
