import assert from 'node:assert/strict';
import type { Checks } from './metadata.js';
import { A, all, B, rejects, SN } from './metadata.workbench.js';

const INHERITED = 'containerd.io/snapshot/x';

export const snapshotChecks: Checks = {
  async 'live in their namespace'(bench) {
    const { snapshots } = bench.services;
    await bench.layer(A, 'layer');
    await snapshots.prepare(A, SN, 'key', 'layer');
    await rejects('NOT_FOUND', snapshots.stat(B, SN, 'layer'));
    await rejects('NOT_FOUND', snapshots.prepare(B, SN, 'key', 'layer'));
    await rejects('NOT_FOUND', snapshots.mounts(B, SN, 'key'));
    await rejects('NOT_FOUND', snapshots.remove(B, SN, 'key'));
    await bench.layer(B, 'layer');
    assert.deepEqual(await bench.keys(A), ['key', 'layer']);
    assert.deepEqual(await bench.keys(B), ['layer']);
    await bench.restart();
    const info = await bench.services.snapshots.stat(A, SN, 'key');
    assert.deepEqual([info.kind, info.name, info.parent], ['active', 'key', 'layer']);
    assert.equal((await bench.services.snapshots.stat(A, SN, 'layer')).kind, 'committed');
  },

  async 'tell of preparation, commit and removal'(bench) {
    const { snapshots } = bench.services;
    await snapshots.prepare(A, SN, 'key', '');
    await snapshots.commit(A, SN, 'layer', 'key');
    await snapshots.view(A, SN, 'view', 'layer');
    await snapshots.remove(A, SN, 'view');
    assert.deepEqual(await bench.topics(), ['a /snapshot/prepare', 'a /snapshot/commit', 'a /snapshot/remove']);
  },

  async 'an unknown snapshotter is INVALID_ARGUMENT in every call'({ services: { snapshots } }) {
    for (const name of ['', 'nothing']) {
      await rejects('INVALID_ARGUMENT', snapshots.stat(A, name, 'k'));
      await rejects('INVALID_ARGUMENT', snapshots.update(A, name, 'k', {}));
      await rejects('INVALID_ARGUMENT', snapshots.usage(A, name, 'k'));
      await rejects('INVALID_ARGUMENT', snapshots.mounts(A, name, 'k'));
      await rejects(
        'INVALID_ARGUMENT',
        Promise.resolve().then(() => snapshots.prepare(A, name, 'k', '')),
      );
      await rejects(
        'INVALID_ARGUMENT',
        Promise.resolve().then(() => snapshots.view(A, name, 'k', '')),
      );
      await rejects('INVALID_ARGUMENT', snapshots.commit(A, name, 'n', 'k'));
      await rejects('INVALID_ARGUMENT', snapshots.remove(A, name, 'k'));
      await rejects('INVALID_ARGUMENT', snapshots.cleanup(A, name));
      await rejects('INVALID_ARGUMENT', all(snapshots.walk(A, name)));
      assert.throws(() => snapshots.capabilities(name));
    }
    assert.ok(snapshots.names().includes(SN) && !snapshots.names().includes('nothing'), snapshots.names().join());
  },

  async 'keys are unique, parents must exist and be committed'(bench) {
    const { snapshots } = bench.services;
    await snapshots.prepare(A, SN, 'key', '');
    await rejects('ALREADY_EXISTS', snapshots.prepare(A, SN, 'key', ''));
    await rejects('ALREADY_EXISTS', snapshots.view(A, SN, 'key', ''));
    await rejects('NOT_FOUND', snapshots.prepare(A, SN, 'other', 'nothing'));
    await rejects('INVALID_ARGUMENT', snapshots.prepare(A, SN, 'other', 'key'));
    await rejects('INVALID_ARGUMENT', snapshots.prepare(A, SN, '', ''));
    await rejects('NOT_FOUND', snapshots.commit(A, SN, 'name', 'nothing'));
    await rejects('ALREADY_EXISTS', snapshots.commit(A, SN, 'key', 'key'));
    assert.deepEqual(await bench.keys(A), ['key']);
  },

  async 'one with children stays'(bench) {
    const { snapshots } = bench.services;
    await bench.layer(A, 'layer');
    await snapshots.prepare(A, SN, 'key', 'layer');
    await rejects('FAILED_PRECONDITION', snapshots.remove(A, SN, 'layer'));
    await snapshots.remove(A, SN, 'key');
    await snapshots.remove(A, SN, 'layer');
    await rejects('NOT_FOUND', snapshots.remove(A, SN, 'layer'));
    await bench.layer(A, 'layer');
  },

  async 'labels are kept all, and updated by mask'(bench) {
    const { snapshots } = bench.services;
    await snapshots.prepare(A, SN, 'key', '', { own: '1', [INHERITED]: 'v' });
    assert.deepEqual((await snapshots.stat(A, SN, 'key')).labels, { own: '1', [INHERITED]: 'v' });
    const masked = await snapshots.update(A, SN, 'key', { own: '', more: '2' }, ['labels.own', 'labels.more']);
    assert.deepEqual(masked.labels, { more: '2', [INHERITED]: 'v' });
    await snapshots.update(A, SN, 'key', { [INHERITED]: 'w' }, [`labels.${INHERITED}`]);
    assert.deepEqual((await snapshots.stat(A, SN, 'key')).labels, { more: '2', [INHERITED]: 'w' });
    await snapshots.update(A, SN, 'key', { all: 'new' });
    assert.deepEqual((await snapshots.stat(A, SN, 'key')).labels, { all: 'new' });
    await rejects('INVALID_ARGUMENT', snapshots.update(A, SN, 'key', {}, ['parent']));
    await rejects('INVALID_ARGUMENT', snapshots.update(A, SN, 'key', { k: 'v'.repeat(4096) }));
    await rejects('NOT_FOUND', snapshots.update(A, SN, 'nothing', {}));
    await rejects('INVALID_ARGUMENT', snapshots.prepare(A, SN, 'k', '', { k: 'v'.repeat(4096) }));
    await snapshots.commit(A, SN, 'layer', 'key', { labels: { committed: '1' } });
    assert.deepEqual((await snapshots.stat(A, SN, 'layer')).labels, { committed: '1' });
  },

  async 'are filtered by kind, name, parent and labels'(bench) {
    const { snapshots } = bench.services;
    await bench.layer(A, 'layer', '', { x: '1' });
    await snapshots.prepare(A, SN, 'active', 'layer');
    await snapshots.view(A, SN, 'view', 'layer');
    const names = async (filter: string) => (await all(snapshots.walk(A, SN, [filter]))).map(({ name }) => name);
    assert.deepEqual(await names('kind==active'), ['active']);
    assert.deepEqual(await names('kind!=active'), ['layer', 'view']);
    assert.deepEqual(await names('name==layer'), ['layer']);
    assert.deepEqual(await names('parent==layer'), ['active', 'view']);
    assert.deepEqual(await names('labels.x'), ['layer']);
  },

  async 'a target that is there already is ALREADY_EXISTS'(bench) {
    const { snapshots } = bench.services;
    await bench.layer(A, 'chain');
    const labels = { 'containerd.io/snapshot.ref': 'chain' };
    await rejects('ALREADY_EXISTS', snapshots.prepare(A, SN, 'extract-1 chain', '', labels));
    assert.deepEqual(await bench.keys(A), ['chain']);
    await snapshots.prepare(B, SN, 'extract-1 chain', '', labels);
  },

  async 'of two that commit one name one wins, and the other keeps its own'(bench) {
    const { snapshots } = bench.services;
    await snapshots.prepare(A, SN, 'one', '');
    await snapshots.prepare(A, SN, 'two', '');
    const outcomes = await Promise.allSettled([
      snapshots.commit(A, SN, 'layer', 'one'),
      snapshots.commit(A, SN, 'layer', 'two'),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
    assert.deepEqual(await bench.keys(A), ['layer', 'two']);
    await snapshots.mounts(A, SN, 'two');
  },

  async 'of many that prepare one key one wins, and the others leave nothing'(bench) {
    const { snapshots } = bench.services;
    const outcomes = await Promise.allSettled(Array.from({ length: 16 }, () => snapshots.prepare(A, SN, 'key', '')));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    await snapshots.mounts(A, SN, 'key');
    await snapshots.remove(A, SN, 'key');
    assert.deepEqual(await bench.keys(A), []);
  },
};
