import assert from 'node:assert/strict';
import type { Checks } from './metadata.js';
import { A, B, newContainer, rejects, tick } from './metadata.workbench.js';

const any = (text: string) => ({ typeUrl: `type/${text}`, value: new Uint8Array(Buffer.from(text)) });

export const containerChecks: Checks = {
  async 'come back as they were created'(bench) {
    const options = { typeUrl: 'containerd.runc.v1.Options', value: new Uint8Array([0, 255, 1]) };
    const given = newContainer('c', {
      labels: { a: '1' },
      image: 'image',
      runtime: { name: 'io.containerd.runc.v2', options },
      snapshotter: 'native',
      snapshotKey: 'key',
      extensions: { 'x/y': any('extension'), empty: { typeUrl: 't', value: new Uint8Array() } },
      sandbox: 'pod',
    });
    const created = await bench.services.containers.create(A, given);
    assert.ok(created.createdAt > 0n && created.createdAt === created.updatedAt);
    await bench.restart();
    const found = await bench.services.containers.get(A, 'c');
    assert.deepEqual(found, { ...given, spec: found.spec, createdAt: created.createdAt, updatedAt: created.updatedAt });
    assert.equal(found.spec.typeUrl, given.spec.typeUrl);
    assert.deepEqual(Buffer.from(found.spec.value), Buffer.from(given.spec.value));
  },

  async 'are unique in their namespace, listed in order and deleted'({ services: { containers } }) {
    await containers.create(A, newContainer('b'));
    await containers.create(A, newContainer('a'));
    await rejects('ALREADY_EXISTS', containers.create(A, newContainer('a')));
    await containers.create(B, newContainer('a'));
    assert.deepEqual(
      (await containers.list(A)).map(({ id }) => id),
      ['a', 'b'],
    );
    await containers.delete(A, 'a');
    await rejects('NOT_FOUND', containers.get(A, 'a'));
    await rejects('NOT_FOUND', containers.delete(A, 'a'));
    assert.equal((await containers.get(B, 'a')).id, 'a');
    assert.equal((await containers.get(A, 'b')).id, 'b');
  },

  async 'tell what happens to them'(bench) {
    const { containers } = bench.services;
    await containers.create(A, newContainer('told'));
    await containers.update(A, newContainer('told', { image: 'x' }));
    await containers.delete(A, 'told');
    assert.deepEqual(await bench.topics(), ['a /containers/create', 'a /containers/update', 'a /containers/delete']);
    bench.eventsName('told');
  },

  async 'of 50 that create one id at once exactly one wins'({ services: { containers } }) {
    for (let round = 0; round < 3; round += 1) {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 50 }, () => containers.create(A, newContainer('c'))),
      );
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
      await containers.delete(A, 'c');
    }
  },

  async 'incomplete ones are refused'({ services: { containers } }) {
    const wrong = [
      newContainer(''),
      newContainer('a/b'),
      newContainer('..'),
      newContainer('x'.repeat(77)),
      newContainer('c', { runtime: { name: '' } }),
      newContainer('c', { spec: { typeUrl: '', value: new Uint8Array() } }),
      newContainer('c', { snapshotKey: 'k' }),
      newContainer('c', { extensions: { '': any('x') } }),
      newContainer('c', { labels: { k: 'v'.repeat(4096) } }),
    ];
    for (const each of wrong) await rejects('INVALID_ARGUMENT', containers.create(A, each));
    assert.deepEqual(await containers.list(A), []);
  },

  async 'an update without a mask replaces what may change, and refuses the rest'({ services: { containers } }) {
    const created = await containers.create(A, newContainer('c', { snapshotter: 'native', labels: { a: '1' } }));
    const changed = newContainer('c', {
      snapshotter: 'native',
      snapshotKey: 'k',
      image: 'new',
      labels: { b: '2' },
      spec: any('spec'),
      extensions: { e: any('e') },
      sandbox: 'ignored',
    });
    await tick();
    const updated = await containers.update(A, changed);
    assert.equal(updated.createdAt, created.createdAt);
    assert.ok(updated.updatedAt > created.updatedAt, 'updatedAt is the time of the update');
    assert.equal(updated.sandbox, '');
    assert.deepEqual([updated.image, updated.snapshotKey, updated.labels], ['new', 'k', { b: '2' }]);
    assert.deepEqual(updated.extensions, { e: any('e') });
    await rejects('INVALID_ARGUMENT', containers.update(A, { ...changed, snapshotter: 'other' }));
    await rejects('INVALID_ARGUMENT', containers.update(A, { ...changed, runtime: { name: 'other' } }));
    await rejects('NOT_FOUND', containers.update(A, newContainer('nothing')));
    await rejects('INVALID_ARGUMENT', containers.update(A, newContainer('')));
  },

  async 'masks replace what they name, and need nothing else'({ services: { containers } }) {
    await containers.create(A, newContainer('c', { labels: { a: '1' }, extensions: { x: any('x'), y: any('y') } }));
    const bare = newContainer('c', { runtime: { name: '' }, spec: { typeUrl: '', value: new Uint8Array() } });
    const labelled = await containers.update(A, { ...bare, labels: { b: '2', a: '' } }, ['labels.a', 'labels.b']);
    assert.deepEqual(labelled.labels, { b: '2' });
    assert.equal(labelled.runtime.name, 'io.containerd.runc.v2');
    const extended = await containers.update(A, { ...bare, extensions: { x: any('new') } }, [
      'extensions.x',
      'extensions.y',
    ]);
    assert.deepEqual(extended.extensions, { x: any('new') });
    await rejects('INVALID_ARGUMENT', containers.update(A, bare, ['spec']));
    for (const path of ['id', 'runtime', 'snapshotter', 'sandbox', 'labelsx']) {
      await rejects('INVALID_ARGUMENT', containers.update(A, bare, [path]));
    }
  },

  async 'are filtered by id, image, runtime and labels'({ services: { containers } }) {
    await containers.create(A, newContainer('one', { image: 'i', labels: { 'x.y/z': 'v' } }));
    await containers.create(A, newContainer('two', { runtime: { name: 'other' } }));
    const ids = async (...filters: string[]): Promise<string[]> =>
      (await containers.list(A, filters)).map(({ id }) => id);
    assert.deepEqual(await ids('id==one'), ['one']);
    assert.deepEqual(await ids('image==i'), ['one']);
    assert.deepEqual(await ids('runtime.name==other'), ['two']);
    assert.deepEqual(await ids('labels."x.y/z"'), ['one']);
    assert.deepEqual(await ids('id~=^t', 'id~=^o'), ['one', 'two']);
    await rejects('INVALID_ARGUMENT', ids('id~=/(/'));
  },

  async 'hostile label keys are only keys'({ services: { containers } }) {
    const labels = JSON.parse('{"__proto__":"p","constructor":"c","toString":"t"}');
    await containers.create(A, newContainer('c', { labels }));
    const found = (await containers.get(A, 'c')).labels;
    assert.deepEqual(Object.entries(found).sort(), [
      ['__proto__', 'p'],
      ['constructor', 'c'],
      ['toString', 't'],
    ]);
  },
};
