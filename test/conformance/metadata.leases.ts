import assert from 'node:assert/strict';
import type { LeaseResource } from '../../kernel/contracts/leases.js';
import { digestOf } from '../../lib/digest.js';
import type { Checks } from './metadata.js';
import { A, B, rejects, SN } from './metadata.workbench.js';

const DIGEST = digestOf(Buffer.from('x'));

const words = (resources: readonly LeaseResource[]): string[] => resources.map(({ type, id }) => `${type} ${id}`);

export const leaseChecks: Checks = {
  async 'are created, listed, filtered and deleted'({ services: { leases } }) {
    const lease = await leases.create(A, { id: 'one', labels: { x: '1', gone: '' } });
    assert.deepEqual(lease.labels, { x: '1' });
    assert.ok(lease.createdAt > 0n);
    await rejects('ALREADY_EXISTS', leases.create(A, { id: 'one' }));
    await leases.create(A, { id: 'two' });
    assert.deepEqual(
      (await leases.list(A)).map(({ id }) => id),
      ['one', 'two'],
    );
    assert.deepEqual(
      (await leases.list(A, ['labels.x==1'])).map(({ id }) => id),
      ['one'],
    );
    assert.deepEqual(
      (await leases.list(A, ['id==two'])).map(({ id }) => id),
      ['two'],
    );
    assert.deepEqual(await leases.list(B), []);
    await leases.delete(A, 'one');
    await rejects('NOT_FOUND', leases.delete(A, 'one'));
    await rejects('NOT_FOUND', leases.delete(B, 'two'));
    assert.deepEqual(
      (await leases.list(A)).map(({ id }) => id),
      ['two'],
    );
  },

  async 'without an id get one of their own'({ services: { leases } }) {
    const ids = await Promise.all(Array.from({ length: 20 }, async () => (await leases.create(A, {})).id));
    assert.equal(new Set(ids).size, 20);
    assert.ok(ids.every((id) => id !== ''));
  },

  async 'hold resources that are named, once each'({ services: { leases } }) {
    await leases.create(A, { id: 'l' });
    const resources: readonly LeaseResource[] = [
      { type: 'content', id: DIGEST },
      { type: 'images', id: 'image' },
      { type: 'ingests', id: 'ref' },
      { type: `snapshots/${SN}`, id: 'key' },
    ];
    for (const resource of [...resources, ...resources]) await leases.addResource(A, 'l', resource);
    assert.deepEqual(await leases.resources(A, 'l'), resources);
    for (const resource of resources.slice(1)) await leases.deleteResource(A, 'l', resource);
    await leases.deleteResource(A, 'l', { type: 'images', id: 'not held' });
    assert.deepEqual(await leases.resources(A, 'l'), resources.slice(0, 1));
    for (const work of [
      leases.addResource(A, 'none', { type: 'images', id: 'image' }),
      leases.deleteResource(A, 'none', { type: 'images', id: 'image' }),
      leases.resources(A, 'none'),
    ]) {
      await rejects('NOT_FOUND', work);
    }
  },

  async 'resources of other types are refused'({ services: { leases } }) {
    await leases.create(A, { id: 'l' });
    for (const type of ['', 'containers', 'snapshot', 'contents', 'stream']) {
      await rejects('UNIMPLEMENTED', leases.addResource(A, 'l', { type, id: 'x' }));
    }
    for (const type of ['content/x', 'images/', 'snapshots', 'snapshots/', 'snapshots/a/b']) {
      await rejects('INVALID_ARGUMENT', leases.addResource(A, 'l', { type, id: 'x' }));
    }
    await rejects('INVALID_ARGUMENT', leases.addResource(A, 'l', { type: 'content', id: 'sha256:x' }));
    assert.deepEqual(await leases.resources(A, 'l'), []);
  },

  async 'take what is made under them, and what is found to exist'(bench) {
    const { leases, content, snapshots } = bench.services;
    const leased = { ...A, lease: 'l' };
    const digest = await bench.blob(A, 'x');
    await snapshots.prepare(A, SN, 'existing', '');
    await bench.layer(A, 'layer');
    await leases.create(A, { id: 'l' });

    await rejects('ALREADY_EXISTS', content.writer(leased, { ref: 'r', expected: digest }));
    await rejects('ALREADY_EXISTS', snapshots.prepare(leased, SN, 'existing', ''));
    await rejects('ALREADY_EXISTS', snapshots.commit(leased, SN, 'layer', 'existing'));
    assert.deepEqual(words(await leases.resources(A, 'l')), [
      `content ${digest}`,
      `snapshots/${SN} existing`,
      `snapshots/${SN} layer`,
    ]);

    const made = await bench.blob(leased, 'y');
    const writer = await content.writer(leased, { ref: 'open' });
    await writer.close();
    await snapshots.view(leased, SN, 'view', 'layer');
    await bench.layer(leased, 'upper', 'layer');
    assert.deepEqual(words(await leases.resources(A, 'l')), [
      ...[`content ${digest}`, `content ${made}`].sort(),
      'ingests open',
      ...['existing', 'layer', 'upper', 'view'].map((key) => `snapshots/${SN} ${key}`),
    ]);
  },

  async 'let go of what is removed under them'(bench) {
    const { leases, content, snapshots } = bench.services;
    const leased = { ...A, lease: 'l' };
    await leases.create(A, { id: 'l' });
    const digest = await bench.blob(leased, 'x');
    await snapshots.prepare(leased, SN, 'k', '');
    const writer = await content.writer(leased, { ref: 'open' });
    await writer.close();
    await content.delete(leased, digest);
    await snapshots.remove(leased, SN, 'k');
    await content.abort(leased, 'open');
    assert.deepEqual(await leases.resources(A, 'l'), []);
  },

  async 'images that never expire need none, others are taken'(bench) {
    const { leases } = bench.services;
    const leased = { ...A, lease: 'l' };
    await leases.create(A, { id: 'l' });
    await bench.image(leased, 'stays', DIGEST);
    await bench.image(leased, 'expires', DIGEST, { 'containerd.io/gc.expire': '2100-01-01T00:00:00Z' });
    assert.deepEqual(words(await leases.resources(A, 'l')), ['images expires']);
  },

  async 'that do not exist are NOT_FOUND to whoever works under them'(bench) {
    const { content, snapshots } = bench.services;
    const leased = { ...A, lease: 'none' };
    await rejects('NOT_FOUND', content.writer(leased, { ref: 'r' }));
    await rejects('NOT_FOUND', snapshots.prepare(leased, SN, 'k', ''));
    assert.deepEqual(await content.statuses(A), []);
    assert.deepEqual(await bench.keys(A), []);
  },
};
