import assert from 'node:assert/strict';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { scratch } from '../../test/harness/scratch.js';
import { SnapshotRecords } from './records.js';

const warn = (message: string): void => assert.fail(message);

/** Runs `work` with records in a new directory. */
async function withRecords(work: (records: SnapshotRecords, file: string) => Promise<void>): Promise<void> {
  await using directory = await scratch('records');
  const file = join(directory.path, 'metadata.db');
  const records = await SnapshotRecords.open(file, warn);
  try {
    await work(records, file);
  } finally {
    await records.close();
  }
}

const active = (records: SnapshotRecords, key: string, parent = '') =>
  records.create({ id: records.reserveId(), kind: 'active', key, parent, labels: {} });

const commit = (records: SnapshotRecords, key: string, name: string, parent = '') =>
  records.commit({ key, name, parent, labels: {}, usage: { inodes: 1, size: 2 }, boot: 'b' });

describe('records of snapshots', () => {
  it('know the ancestors of a snapshot, nearest first, also after a rebase', () =>
    withRecords(async (records) => {
      const base = await active(records, 'a');
      await commit(records, 'a', 'A');
      await active(records, 'b', 'A');
      const middle = await commit(records, 'b', 'B');
      const { id } = await active(records, 'c');
      assert.deepEqual(records.ancestors(id), []);
      await commit(records, 'c', 'C', 'B');
      assert.deepEqual(records.ancestors(id), [middle.id, base.id]);
    }));

  it('never use an id twice', () =>
    withRecords(async (records, file) => {
      const { id } = await active(records, 'a');
      await records.remove('a');
      await records.close();
      const again = await SnapshotRecords.open(file, warn);
      assert.ok(again.reserveId() > id);
      again.skipId(1000);
      assert.equal(again.reserveId(), 1001);
      await again.close();
    }));

  it('walk in order of name through more than a page', () =>
    withRecords(async (records) => {
      const keys = Array.from({ length: 600 }, (_, index) => `key ${String(index).padStart(4, '0')}`);
      await Promise.all(keys.toReversed().map((key) => active(records, key)));
      assert.deepEqual(
        [...records.walk()].map(({ name }) => name),
        keys,
      );
    }));

  it('refuse one of two changes in a transaction and keep the other', () =>
    withRecords(async (records) => {
      const outcomes = await Promise.allSettled([
        active(records, 'same'),
        active(records, 'same'),
        active(records, 'x'),
      ]);
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled'],
      );
    }));

  it('belong to one process at a time', () =>
    withRecords(async (_, file) => {
      await assert.rejects(SnapshotRecords.open(file, warn), { code: 'FAILED_PRECONDITION', message: /in use by/ });
    }));

  it('of a newer version are left alone', () =>
    withRecords(async (records, file) => {
      await records.close();
      const database = new DatabaseSync(file);
      database.exec('PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)');
      database.close();
      await assert.rejects(SnapshotRecords.open(file, warn), { code: 'FAILED_PRECONDITION', message: /newer version/ });
    }));

  it('that are damaged say so, and what can be done', () =>
    withRecords(async (records, file) => {
      await records.close();
      for (const name of readdirSync(join(file, '..'))) rmSync(join(file, '..', name));
      writeFileSync(file, Buffer.alloc(8192, 7));
      await assert.rejects(SnapshotRecords.open(file, warn), { code: 'DATA_LOSS', message: /pull the images again/ });
    }));

  it('refuse changes once closed', () =>
    withRecords(async (records) => {
      await records.close();
      await assert.rejects(active(records, 'a'), { code: 'FAILED_PRECONDITION' });
    }));
});
