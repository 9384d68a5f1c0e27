import assert from 'node:assert/strict';
import type { NewSandbox, Sandboxes } from '../../kernel/contracts/sandboxes.js';
import type { Checks } from './metadata.js';
import { A, B, type MetadataBench, rejects, tick } from './metadata.workbench.js';

const any = (text: string) => ({ typeUrl: `type/${text}`, value: new Uint8Array(Buffer.from(text)) });

const newSandbox = (id: string, more: Partial<NewSandbox> = {}): NewSandbox => ({
  id,
  labels: {},
  runtime: { name: 'vm' },
  extensions: {},
  sandboxer: 'pods',
  ...more,
});

const ofSandboxes =
  (check: (sandboxes: Sandboxes, bench: MetadataBench) => Promise<void>): Checks[string] =>
  async (bench) => {
    const { sandboxes } = bench.services;
    assert.ok(sandboxes, 'the subject says that it keeps sandboxes, and gives none');
    await check(sandboxes, bench);
  };

export const sandboxChecks: Checks = {
  'come back as they were created': ofSandboxes(async (sandboxes, bench) => {
    const runtime = { name: 'vm', options: { typeUrl: 'own', value: new Uint8Array([0, 255, 1]) } };
    const more = { labels: { a: '1' }, spec: any('spec'), extensions: { 'x/y': any('extension') } };
    const given = newSandbox('s', { runtime, ...more });
    const created = await sandboxes.create(A, { ...given, labels: { ...given.labels, gone: '' } });
    assert.ok(created.createdAt > 0n && created.createdAt === created.updatedAt);
    const { createdAt, updatedAt } = created;
    await bench.restart();
    assert.deepEqual(await bench.services.sandboxes?.get(A, 's'), { ...given, createdAt, updatedAt });
  }),

  'are unique in their namespace, listed in order, filtered and deleted': ofSandboxes(async (sandboxes) => {
    await sandboxes.create(A, newSandbox('b', { labels: { 'x.y/z': 'v' } }));
    await sandboxes.create(A, newSandbox('a', { runtime: { name: 'other' }, sandboxer: 'mine' }));
    await rejects('ALREADY_EXISTS', sandboxes.create(A, newSandbox('a')));
    await sandboxes.create(B, newSandbox('a'));
    const ids = async (...filters: string[]) => (await sandboxes.list(A, filters)).map(({ id }) => id);
    assert.deepEqual(await ids(), ['a', 'b']);
    assert.deepEqual(await ids('labels."x.y/z"==v'), ['b']);
    assert.deepEqual(await ids('runtime.name==other', 'id==b'), ['a', 'b']);
    assert.deepEqual(await ids('sandboxer==mine'), ['a']);
    await rejects('INVALID_ARGUMENT', ids('id~=/(/'));
    await sandboxes.delete(A, 'a');
    await rejects('NOT_FOUND', sandboxes.get(A, 'a'));
    await rejects('NOT_FOUND', sandboxes.delete(A, 'a'));
    assert.equal((await sandboxes.get(B, 'a')).id, 'a');
  }),

  'malformed ones are refused': ofSandboxes(async (sandboxes) => {
    const wrong = [
      ...['', 'a/b', '..', 'x'.repeat(77)].map((id) => newSandbox(id)),
      newSandbox('s', { extensions: { '': any('x') } }),
      newSandbox('s', { labels: { k: 'v'.repeat(4096) } }),
    ];
    for (const each of wrong) await rejects('INVALID_ARGUMENT', sandboxes.create(A, each));
    assert.deepEqual(await sandboxes.list(A), []);
  }),

  'an update replaces what its mask names, or all that may change': ofSandboxes(async (sandboxes) => {
    const first = newSandbox('s', { labels: { a: '1', b: '2' }, extensions: { x: any('x') }, spec: any('spec') });
    const created = await sandboxes.create(A, first);
    await tick();
    const next = newSandbox('s', { labels: { a: '', c: '3' }, extensions: { y: any('y') } });
    const labelled = await sandboxes.update(A, next, ['labels.a', 'labels.c', 'extensions.y']);
    assert.deepEqual(labelled.labels, { b: '2', c: '3' });
    assert.deepEqual(Object.keys(labelled.extensions).sort(), ['x', 'y']);
    assert.deepEqual(labelled.spec, any('spec'));
    assert.ok(labelled.updatedAt > created.updatedAt && labelled.createdAt === created.createdAt);
    const all = await sandboxes.update(A, next);
    assert.deepEqual([all.labels, all.extensions, all.spec], [{ c: '3' }, { y: any('y') }, undefined]);
    await rejects('INVALID_ARGUMENT', sandboxes.update(A, newSandbox('s', { runtime: { name: 'other' } })));
    for (const path of ['id', 'sandboxer', 'labelsx'])
      await rejects('INVALID_ARGUMENT', sandboxes.update(A, next, [path]));
    await rejects('NOT_FOUND', sandboxes.update(A, newSandbox('none')));
    await rejects('INVALID_ARGUMENT', sandboxes.update(A, newSandbox('')));
  }),

  'keep what their labels refer to, and their namespace': ofSandboxes(async (sandboxes, bench) => {
    const digest = await bench.blob(A, 'kept');
    await sandboxes.create(A, newSandbox('s', { labels: { 'containerd.io/gc.ref.content': digest } }));
    await bench.collect();
    assert.deepEqual(await bench.digests(A), [digest]);
    await rejects('FAILED_PRECONDITION', bench.services.namespaces.delete('a'), /sandboxes/);
    await sandboxes.delete(A, 's');
    await bench.collect();
    assert.deepEqual(await bench.digests(A), []);
    await bench.services.namespaces.delete('a');
  }),
};
