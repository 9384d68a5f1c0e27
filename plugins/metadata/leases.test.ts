import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { digestOf } from '../../lib/digest.js';
import { Database } from '../../lib/sqlite/database.js';
import { eventually } from '../../test/harness/eventually.js';
import { bytesOf, coded, TestMetadata } from '../../test/harness/metadata.js';

const NS = { namespace: 'test' };
const LEASED = { ...NS, lease: 'l' };
const GHOST = { ...NS, lease: 'ghost' };

const check = (title: string, body: (metadata: TestMetadata) => Promise<void>): void => {
  it(title, async () => {
    await using metadata = await TestMetadata.start();
    await metadata.leases.create(NS, { id: 'l' });
    await body(metadata);
  });
};

const held = async (metadata: TestMetadata): Promise<string[]> =>
  (await metadata.leases.resources(NS, 'l')).map(({ type, id }) => `${type} ${id}`);

describe('leases', () => {
  check('a lease has an id, labels and a time, and is listed by filter', async (metadata) => {
    const lease = await metadata.leases.create(NS, { labels: { a: 'b', empty: '' } });
    assert.notEqual(lease.id, '');
    assert.deepEqual(lease.labels, { a: 'b' });
    assert.deepEqual(await metadata.leases.list(NS, ['labels.a==b']), [lease]);
    assert.deepEqual(await metadata.leases.list({ namespace: 'other' }), []);
  });

  check('one that expires, and its end, are not waited for until they are on disk; others are', async ({ leases }) => {
    const { mock: flushes } = mock.method(Database.prototype, 'flushed');
    try {
      const labels = { 'containerd.io/gc.expire': new Date(Date.now() + 3_600_000).toISOString() };
      await leases.create(NS, { id: 'brief', labels });
      await leases.delete(NS, 'brief');
      assert.equal(flushes.callCount(), 0);
      await leases.create(NS, { id: 'lasting' });
      assert.equal(flushes.callCount(), 1);
      await leases.delete(NS, 'lasting');
      assert.equal(flushes.callCount(), 2);
      await leases.create(NS, { id: 'brief', labels });
      await eventually('it is on disk', () => flushes.callCount() === 3 || undefined);
    } finally {
      flushes.restore();
    }
  });

  check('refusals', async ({ leases }) => {
    await assert.rejects(leases.create(NS, { id: 'l' }), coded('ALREADY_EXISTS', /"l"/));
    await assert.rejects(leases.delete(NS, 'ghost'), coded('NOT_FOUND', /"ghost"/));
    await assert.rejects(leases.resources(NS, 'ghost'), coded('NOT_FOUND'));
    await assert.rejects(leases.create(NS, { id: 'x', labels: { k: 'v'.repeat(4096) } }), coded('INVALID_ARGUMENT'));
    const id = digestOf(bytesOf('a'));
    for (const [type, code] of [
      ['volumes', 'UNIMPLEMENTED'],
      ['content/x', 'INVALID_ARGUMENT'],
      ['snapshots', 'INVALID_ARGUMENT'],
      ['snapshots/', 'INVALID_ARGUMENT'],
      ['snapshots/a/b', 'INVALID_ARGUMENT'],
      ['ingests/a', 'INVALID_ARGUMENT'],
    ] as const) {
      await assert.rejects(leases.addResource(NS, 'l', { type, id }), coded(code), type);
    }
    await assert.rejects(leases.addResource(NS, 'l', { type: 'content', id: 'x' }), coded('INVALID_ARGUMENT'));
    await assert.rejects(leases.addResource(NS, 'ghost', { type: 'content', id }), coded('NOT_FOUND'));
  });
});

describe('leases: a call under a lease', () => {
  check('adds the ingest it opens, then the content it commits', async (metadata) => {
    const writer = await metadata.content.writer(LEASED, { ref: 'r' });
    await writer.write(bytesOf('a'));
    assert.deepEqual(await held(metadata), ['ingests r']);
    const { digest } = await writer.commit({});
    assert.deepEqual(await held(metadata), [`content ${digest}`]);
  });

  check('adds content that exists already', async (metadata) => {
    const digest = await metadata.put(NS, 'a');
    const opening = metadata.content.writer(LEASED, { ref: 'r', expected: digest });
    await assert.rejects(opening, coded('ALREADY_EXISTS'));
    assert.deepEqual(await held(metadata), [`content ${digest}`]);
    const late = await metadata.put(NS, 'b');
    await assert.rejects(metadata.put(LEASED, 'b'), coded('ALREADY_EXISTS'));
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [digest, late].sort());
  });

  check('adds snapshots prepared, viewed and committed', async (metadata) => {
    await metadata.snapshots.prepare(LEASED, 'native', 'active', '');
    assert.deepEqual(await held(metadata), ['snapshots/native active']);
    await metadata.snapshots.commit(LEASED, 'native', 'layer', 'active');
    assert.deepEqual(await held(metadata), ['snapshots/native layer']);
    await metadata.snapshots.view(LEASED, 'native', 'view', 'layer');
    assert.deepEqual(await held(metadata), ['snapshots/native layer', 'snapshots/native view']);
    await metadata.snapshots.remove(LEASED, 'native', 'view');
    assert.deepEqual(await held(metadata), ['snapshots/native layer']);
  });

  check('adds snapshots that exist already: by key, by name and by target', async (metadata) => {
    await metadata.layer(NS, 'native', 'layer');
    await metadata.layer(NS, 'native', 'target');
    await metadata.snapshots.prepare(NS, 'native', 'active', '');
    await metadata.snapshots.prepare(NS, 'native', 'other', '');
    const { snapshots } = metadata;
    await assert.rejects(snapshots.prepare(LEASED, 'native', 'active', ''), coded('ALREADY_EXISTS'));
    await assert.rejects(snapshots.commit(LEASED, 'native', 'layer', 'other'), coded('ALREADY_EXISTS'));
    const labels = { 'containerd.io/snapshot.ref': 'target' };
    await assert.rejects(snapshots.prepare(LEASED, 'native', 'new', '', labels), coded('ALREADY_EXISTS', /target/));
    const expected = ['snapshots/native active', 'snapshots/native layer', 'snapshots/native target'];
    assert.deepEqual(await held(metadata), expected);
    await metadata.collector.collect();
    assert.deepEqual(await metadata.snapshotNames(NS, 'native'), ['active', 'layer', 'target']);
  });

  check('adds an image only when that expires', async (metadata) => {
    const digest = await metadata.put(LEASED, 'a');
    await metadata.image(LEASED, 'forever', digest);
    await metadata.image(LEASED, 'temporary', digest, { 'containerd.io/gc.expire': '2001-01-01T00:00:00Z' });
    assert.deepEqual(await held(metadata), [`content ${digest}`, 'images temporary']);
    await metadata.collector.collect();
    await metadata.images.get(NS, 'temporary');
  });

  check('that does not exist is refused and leaves nothing', async (metadata) => {
    await assert.rejects(metadata.content.writer(GHOST, { ref: 'r' }), coded('NOT_FOUND', /lease "ghost"/));
    await assert.rejects(metadata.snapshots.prepare(GHOST, 'native', 'k', ''), coded('NOT_FOUND', /lease "ghost"/));
    assert.deepEqual(await metadata.content.statuses(NS), []);
    assert.deepEqual(await metadata.onDisk(), { blobs: [], snapshots: [] });
  });

  check('an ingest without a lease outlives the lease it had', async (metadata) => {
    const first = await metadata.content.writer(LEASED, { ref: 'r' });
    await first.write(bytesOf('half'));
    await first.close();
    const second = await metadata.content.writer(NS, { ref: 'r' });
    await second.close();
    await metadata.leases.delete(NS, 'l', { sync: true });
    assert.equal((await metadata.content.status(NS, 'r')).offset, 4);
  });

  check('a leased ingest goes with its lease', async (metadata) => {
    const writer = await metadata.content.writer(LEASED, { ref: 'r' });
    await writer.write(bytesOf('half'));
    await writer.close();
    await metadata.leases.delete(NS, 'l', { sync: true });
    await assert.rejects(metadata.content.status(NS, 'r'), coded('NOT_FOUND'));
    assert.deepEqual(await metadata.store.statuses(), []);
  });
});

it('an expiry is kept across a restart, without any call', async () => {
  await using first = await TestMetadata.start();
  const expire = new Date(Date.now() + 1500).toISOString();
  await first.leases.create(NS, { id: 'l', labels: { 'containerd.io/gc.expire': expire } });
  const digest = await first.put(LEASED, 'a');
  await first.kernel.stop();
  const config = { gc: { startup_delay: '0ms' } };
  await using second = await TestMetadata.start({ directory: first.kernel.directory, config });
  assert.deepEqual((await second.onDisk()).blobs, [digest]);
  await eventually('the blob is gone', async () => (await second.onDisk()).blobs.length === 0 || undefined);
  assert.deepEqual(await second.leases.list(NS), []);
});
