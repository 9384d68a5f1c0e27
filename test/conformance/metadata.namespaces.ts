import assert from 'node:assert/strict';
import type { Checks } from './metadata.js';
import { A, newContainer, rejects } from './metadata.workbench.js';

const MALFORMED = ['', '.', '..', 'a/b', 'a..b', '-a', 'a-', 'x'.repeat(77), 'ä', 'a b', 'a\0'];

export const namespaceChecks: Checks = {
  async 'are created, listed in order, labelled and deleted'({ services: { namespaces } }) {
    await namespaces.create({ name: 'two', labels: { a: '1' } });
    await namespaces.create({ name: 'one', labels: {} });
    await rejects('ALREADY_EXISTS', namespaces.create({ name: 'one', labels: {} }));
    assert.deepEqual(await namespaces.list(), [
      { name: 'one', labels: {} },
      { name: 'two', labels: { a: '1' } },
    ]);
    await namespaces.delete('one');
    await rejects('NOT_FOUND', namespaces.delete('one'));
    assert.deepEqual(await namespaces.list(), [{ name: 'two', labels: { a: '1' } }]);
  },

  async 'tell what happens to them'(bench) {
    const { namespaces } = bench.services;
    await namespaces.create({ name: 'one', labels: {} });
    await namespaces.update({ name: 'one', labels: { a: '1' } });
    await namespaces.delete('one');
    assert.deepEqual(await bench.topics(), [
      'one /namespaces/create',
      'one /namespaces/update',
      'one /namespaces/delete',
    ]);
  },

  async 'masks touch one label each, an empty value deletes it, and nothing else can be updated'({ services }) {
    const { namespaces } = services;
    await namespaces.create({ name: 'one', labels: { a: '1', b: '2' } });
    await namespaces.update({ name: 'one', labels: { a: '', c: '3', d: '4' } }, ['labels.a', 'labels.c']);
    assert.deepEqual((await namespaces.get('one')).labels, { b: '2', c: '3' });
    await namespaces.update({ name: 'one', labels: { z: '1' } });
    assert.deepEqual((await namespaces.get('one')).labels, { z: '1' });
    for (const path of ['labels', 'name', 'x.y']) {
      await rejects('INVALID_ARGUMENT', namespaces.update({ name: 'one', labels: {} }, [path]));
    }
  },

  async 'one nobody made has no labels, and appears with the first thing in it'({ services }) {
    const { namespaces, containers } = services;
    assert.deepEqual(await namespaces.get('a'), { name: 'a', labels: {} });
    await rejects('NOT_FOUND', containers.get(A, 'c'));
    assert.deepEqual(await namespaces.list(), []);
    await containers.create(A, newContainer('c'));
    assert.deepEqual(await namespaces.list(), [{ name: 'a', labels: {} }]);
  },

  async 'cannot go while something is in it, which is named'(bench) {
    const { namespaces, containers, snapshots, images, content } = bench.services;
    const digest = await bench.blob(A, 'x');
    await bench.image(A, 'image', digest);
    await containers.create(A, newContainer('c'));
    await snapshots.prepare(A, 'native', 'k', '');
    await rejects('FAILED_PRECONDITION', namespaces.delete('a'), /images, blobs, containers, snapshots on "native"/);
    await images.delete(A, 'image');
    await content.delete(A, digest);
    await containers.delete(A, 'c');
    await rejects('FAILED_PRECONDITION', namespaces.delete('a'), /has snapshots on "native" snapshotter$/);
    await snapshots.remove(A, 'native', 'k');
    await namespaces.delete('a');
    assert.deepEqual(await namespaces.list(), []);
  },

  async 'take their leases and ingests with them'(bench) {
    const { namespaces, leases, content } = bench.services;
    await leases.create(A, { id: 'l' });
    const writer = await content.writer(A, { ref: 'r' });
    await writer.write(Buffer.from('half'));
    await writer.close();
    await namespaces.delete('a');
    assert.deepEqual(await leases.list(A), []);
    assert.deepEqual(await content.statuses(A), []);
    await leases.create(A, { id: 'l' });
  },

  async 'malformed names are refused everywhere'({ services }) {
    const { namespaces, images, containers, leases, content, snapshots } = services;
    for (const name of MALFORMED) {
      const scope = { namespace: name };
      await rejects('INVALID_ARGUMENT', namespaces.create({ name, labels: {} }));
      await rejects('INVALID_ARGUMENT', namespaces.update({ name, labels: {} }));
      await rejects('INVALID_ARGUMENT', images.list(scope));
      await rejects('INVALID_ARGUMENT', containers.create(scope, newContainer('c')));
      await rejects('INVALID_ARGUMENT', leases.create(scope, {}));
      await rejects('INVALID_ARGUMENT', content.writer(scope, { ref: 'r' }));
      await rejects(
        'INVALID_ARGUMENT',
        Promise.resolve().then(() => snapshots.prepare(scope, 'native', 'k', '')),
      );
    }
    assert.deepEqual(await namespaces.list(), []);
  },

  async 'labels over 4096 bytes are refused'({ services: { namespaces } }) {
    const labels = { k: 'v'.repeat(4096) };
    await rejects('INVALID_ARGUMENT', namespaces.create({ name: 'one', labels }));
    await rejects('INVALID_ARGUMENT', namespaces.update({ name: 'one', labels }, ['labels.k']));
    assert.deepEqual(await namespaces.list(), []);
  },
};
