import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Labels } from '../../../kernel/contracts/scope.js';
import { digestOf } from '../../../lib/digest.js';
import { eventually } from '../../../test/harness/eventually.js';
import { bytesOf, coded, container, TestMetadata } from '../../../test/harness/metadata.js';

const NS = { namespace: 'test' };
const OTHER = { namespace: 'other' };
const ABSENT = digestOf(bytesOf('nobody wrote this'));
const HOUR = 3_600_000;

const inMillis = (millis: number): string => new Date(Date.now() + millis).toISOString();

const check = (title: string, body: (metadata: TestMetadata) => Promise<void>): void => {
  it(title, async () => {
    await using metadata = await TestMetadata.start();
    await body(metadata);
  });
};

/** A config that needs a snapshot, a manifest that needs the config and a layer. */
async function putImage(metadata: TestMetadata, name: string): Promise<{ manifest: string; all: string[] }> {
  await metadata.layer(NS, 'overlayfs', `${name}-base`);
  await metadata.layer(NS, 'overlayfs', `${name}-top`, `${name}-base`);
  const config = await metadata.put(NS, `config of ${name}`, {
    'containerd.io/gc.ref.snapshot.overlayfs': `${name}-top`,
  });
  const layer = await metadata.put(NS, `layer of ${name}`);
  const manifest = await metadata.put(NS, `manifest of ${name}`, {
    'containerd.io/gc.ref.content.config': config,
    'containerd.io/gc.ref.content.l.0': layer,
  });
  await metadata.image(NS, name, manifest);
  return { manifest, all: [config, layer, manifest].sort() };
}

describe('collector: what refers to what', () => {
  check('an image keeps its content and snapshots; a sync delete frees all of it on disk', async (metadata) => {
    const kept = await putImage(metadata, 'kept');
    await putImage(metadata, 'gone');
    await metadata.collector.collect();
    assert.equal((await metadata.digests(NS)).length, 6);
    await metadata.images.delete(NS, 'gone', { sync: true });
    assert.deepEqual(await metadata.digests(NS), kept.all);
    assert.deepEqual(await metadata.snapshotNames(NS, 'overlayfs'), ['kept-base', 'kept-top']);
    const disk = await metadata.onDisk();
    assert.deepEqual(disk.blobs, kept.all);
    assert.deepEqual(disk.snapshots, ['overlayfs:kept-base', 'overlayfs:kept-top']);
  });

  check('tells how much it removed', async (metadata) => {
    await metadata.put(NS, 'a');
    await metadata.layer(NS, 'native', 'a');
    const stats = await metadata.collector.collect();
    assert.equal(stats.contentRemoved, 1);
    assert.equal(stats.snapshotsRemoved, 1);
    assert.ok(stats.duration > 0);
  });

  check('a container keeps its snapshot, with parents, and what its labels name', async (metadata) => {
    await metadata.layer(NS, 'native', 'base');
    await metadata.snapshots.prepare(NS, 'native', 'root', 'base');
    const digest = await metadata.put(NS, 'checkpoint');
    const labels = { 'containerd.io/gc.ref.content.checkpoint': digest };
    await metadata.containers.create(NS, container('c', { snapshotter: 'native', snapshotKey: 'root', labels }));
    await metadata.collector.collect();
    assert.deepEqual(await metadata.snapshotNames(NS, 'native'), ['base', 'root']);
    assert.deepEqual(await metadata.digests(NS), [digest]);
    await metadata.containers.delete(NS, 'c');
    await metadata.collector.collect();
    assert.deepEqual(await metadata.onDisk(), { blobs: [], snapshots: [] });
  });

  check('gc.root keeps content and snapshots', async (metadata) => {
    const root = { 'containerd.io/gc.root': 'yes' };
    const digest = await metadata.put(NS, 'a', root);
    await metadata.layer(NS, 'native', 'a', '', root);
    await metadata.snapshots.prepare(NS, 'overlayfs', 'active', '', root);
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [digest]);
    assert.deepEqual((await metadata.onDisk()).snapshots, ['native:a', 'overlayfs:active']);
  });

  check('references do not cross namespaces, bytes are shared', async (metadata) => {
    const digest = await metadata.put(NS, 'shared');
    await metadata.put(OTHER, 'shared', { 'containerd.io/gc.root': '1' });
    await metadata.image(OTHER, 'i', ABSENT, { 'containerd.io/gc.ref.content': digest });
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), []);
    assert.deepEqual(await metadata.digests(OTHER), [digest]);
    assert.deepEqual((await metadata.onDisk()).blobs, [digest]);
  });

  const references: readonly (readonly [string, (digest: string) => Labels])[] = [
    ['gc.ref.content', (digest) => ({ 'containerd.io/gc.ref.content': digest })],
    ['gc.ref.content.m.3', (digest) => ({ 'containerd.io/gc.ref.content.m.3': digest })],
    ['gc.ref.content/name', (digest) => ({ 'containerd.io/gc.ref.content/name': digest })],
  ];
  for (const [title, labels] of references) {
    check(`an image keeps content by ${title}`, async (metadata) => {
      const digest = await metadata.put(NS, 'a');
      await metadata.image(NS, 'i', ABSENT, labels(digest));
      await metadata.collector.collect();
      assert.deepEqual(await metadata.digests(NS), [digest]);
    });
  }

  check('a sandbox keeps what its labels refer to, as long as there is a record of it', async (metadata) => {
    const digest = await metadata.put(NS, 'a');
    const labels = { 'containerd.io/gc.ref.content': digest };
    await metadata.sandboxes.create(NS, { id: 's', labels, runtime: { name: '' }, extensions: {}, sandboxer: '' });
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [digest]);
    await metadata.sandboxes.delete(NS, 's');
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), []);
  });

  check('a label that only resembles a reference keeps nothing', async (metadata) => {
    const digest = await metadata.put(NS, 'a');
    await metadata.image(NS, 'i', ABSENT, { 'containerd.io/gc.ref.contents': digest });
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), []);
  });

  check('cycles are kept from a root and go without one', async (metadata) => {
    const a = await metadata.put(NS, 'a');
    const b = await metadata.put(NS, 'b', { 'containerd.io/gc.ref.content': a });
    await metadata.content.update(NS, a, { 'containerd.io/gc.ref.content': b });
    await metadata.image(NS, 'i', a);
    await metadata.collector.collect();
    assert.equal((await metadata.digests(NS)).length, 2);
    await metadata.images.delete(NS, 'i', { sync: true });
    assert.deepEqual(await metadata.digests(NS), []);
  });

  check('back references: what says that it belongs to something is kept with it', async (metadata) => {
    const subject = await metadata.put(NS, 'subject');
    const signature = await metadata.put(NS, 'signature', { 'containerd.io/gc.bref.content': subject });
    const note = await metadata.put(NS, 'note', { 'containerd.io/gc.bref.image': 'i' });
    const state = await metadata.put(NS, 'state', { 'containerd.io/gc.bref.container.x': 'c' });
    const index = await metadata.put(NS, 'index', { 'containerd.io/gc.bref.snapshot.native/x': 's' });
    await metadata.snapshots.prepare(NS, 'native', 's', '');
    await metadata.containers.create(NS, container('c', { snapshotter: 'native', snapshotKey: 's' }));
    await metadata.image(NS, 'i', subject);
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [subject, signature, note, state, index].sort());
    await metadata.containers.delete(NS, 'c');
    await metadata.images.delete(NS, 'i', { sync: true });
    assert.deepEqual(await metadata.digests(NS), []);
  });
});

describe('collector: leases', () => {
  check('keep every kind of resource, and what that refers to', async (metadata) => {
    const leaf = await metadata.put(NS, 'leaf');
    const digest = await metadata.put(NS, 'a', { 'containerd.io/gc.ref.content': leaf });
    await metadata.layer(NS, 'native', 'base');
    await metadata.layer(NS, 'native', 'top', 'base');
    await metadata.leases.create(NS, { id: 'l' });
    await metadata.leases.addResource(NS, 'l', { type: 'content', id: digest });
    await metadata.leases.addResource(NS, 'l', { type: 'snapshots/native', id: 'top' });
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [digest, leaf].sort());
    assert.deepEqual(await metadata.snapshotNames(NS, 'native'), ['base', 'top']);
    await metadata.leases.delete(NS, 'l', { sync: true });
    assert.deepEqual(await metadata.onDisk(), { blobs: [], snapshots: [] });
  });

  check('a flat one keeps resources and parents of snapshots, not what labels refer to', async (metadata) => {
    const leaf = await metadata.put(NS, 'leaf');
    const digest = await metadata.put(NS, 'a', { 'containerd.io/gc.ref.content': leaf });
    await metadata.layer(NS, 'native', 'base');
    await metadata.layer(NS, 'native', 'top', 'base', { 'containerd.io/gc.ref.content': leaf });
    await metadata.leases.create(NS, { id: 'l', labels: { 'containerd.io/gc.flat': '2026-01-01T00:00:00Z' } });
    await metadata.leases.addResource(NS, 'l', { type: 'content', id: digest });
    await metadata.leases.addResource(NS, 'l', { type: 'snapshots/native', id: 'top' });
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [digest]);
    assert.deepEqual(await metadata.snapshotNames(NS, 'native'), ['base', 'top']);
    await metadata.leases.deleteResource(NS, 'l', { type: 'content', id: digest });
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), []);
  });

  check('a flat hold takes nothing away from a whole one', async (metadata) => {
    const leaf = await metadata.put(NS, 'leaf');
    const digest = await metadata.put(NS, 'a', { 'containerd.io/gc.ref.content': leaf });
    await metadata.leases.create(NS, { id: 'a', labels: { 'containerd.io/gc.flat': '1' } });
    await metadata.leases.create(NS, { id: 'b' });
    for (const id of ['a', 'b']) await metadata.leases.addResource(NS, id, { type: 'content', id: digest });
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [digest, leaf].sort());
  });

  check('one that expires keeps nothing from then on, without any call; one with time left keeps', async (metadata) => {
    const old = await metadata.put(NS, 'old');
    const fresh = await metadata.put(NS, 'fresh');
    await metadata.leases.create(NS, { id: 'fresh', labels: { 'containerd.io/gc.expire': inMillis(HOUR) } });
    await metadata.leases.addResource(NS, 'fresh', { type: 'content', id: fresh });
    await metadata.leases.create(NS, { id: 'old', labels: { 'containerd.io/gc.expire': inMillis(1000) } });
    await metadata.leases.addResource(NS, 'old', { type: 'content', id: old });
    await metadata.collector.collect();
    assert.equal((await metadata.digests(NS)).length, 2);
    await eventually('the blob is gone', async () => (await metadata.onDisk()).blobs.length === 1 || undefined);
    assert.deepEqual(await metadata.digests(NS), [fresh]);
    const leases = await metadata.leases.list(NS);
    assert.deepEqual(
      leases.map(({ id }) => id),
      ['fresh'],
    );
  });

  check('an image that expired goes, and its event says so', async (metadata) => {
    const digest = await metadata.put(NS, 'a');
    await metadata.image(NS, 'i', digest, { 'containerd.io/gc.expire': inMillis(-HOUR) });
    await using events = metadata.record();
    await metadata.collector.collect();
    await assert.rejects(metadata.images.get(NS, 'i'), coded('NOT_FOUND'));
    assert.deepEqual(
      events.seen.map(({ topic }) => topic),
      ['/images/delete'],
    );
    assert.deepEqual(await metadata.digests(NS), []);
  });
});

describe('collector: what is under way', () => {
  check('an ingest is kept while it is written and after', async (metadata) => {
    const writer = await metadata.content.writer(NS, { ref: 'r' });
    await writer.write(bytesOf('half'));
    await metadata.collector.collect();
    await writer.close();
    await metadata.collector.collect();
    assert.equal((await metadata.content.status(NS, 'r')).offset, 4);
  });

  check('an aborted ingest goes from disk once its writer is closed', async (metadata) => {
    const writer = await metadata.content.writer(NS, { ref: 'r' });
    await writer.write(bytesOf('half'));
    await metadata.content.abort(NS, 'r');
    await assert.rejects(writer.commit({}), coded('ABORTED'));
    await writer.close();
    await metadata.collector.collect();
    assert.deepEqual(await metadata.store.statuses(), []);
  });

  check('content put again while a collection runs survives it, with its bytes', async (metadata) => {
    const texts = Array.from({ length: 20 }, (_, i) => `blob ${i}`);
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(texts.map((text) => metadata.put(NS, text)));
      await metadata.leases.create(NS, { id: 'l' });
      const collecting = metadata.collector.collect();
      const again: Promise<string>[] = [];
      for (const text of texts) {
        again.push(metadata.putAgain({ ...NS, lease: 'l' }, text));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await collecting;
      const digests = await Promise.all(again);
      for (const digest of digests) {
        const reader = await metadata.content.reader(NS, digest);
        await reader.close();
      }
      await metadata.leases.delete(NS, 'l', { sync: true });
      assert.deepEqual(await metadata.onDisk(), { blobs: [], snapshots: [] });
    }
  });

  check('a collection asked for begins after what was done before', async (metadata) => {
    const first = metadata.collector.collect();
    const digest = await metadata.put(NS, 'a');
    const second = metadata.collector.collect();
    await Promise.all([first, second]);
    assert.ok(!(await metadata.digests(NS)).includes(digest));
  });

  it('who waits for a collection when the daemon stops is told', async () => {
    await using metadata = await TestMetadata.start({
      config: { gc: { startup_delay: '10h', schedule_delay: '10h' } },
    });
    const refused = assert.rejects(metadata.collector.collect(), coded('UNAVAILABLE'));
    await metadata.kernel.stop();
    await refused;
    await assert.rejects(metadata.collector.collect(), coded('UNAVAILABLE'));
  });
});
