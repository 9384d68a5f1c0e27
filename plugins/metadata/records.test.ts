import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { ImageCreate } from '../../api/gen/events/image.js';
import type { NewSandbox } from '../../kernel/contracts/sandboxes.js';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { dataLoss } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { eventually } from '../../test/harness/eventually.js';
import { bytesOf, coded, container, JSON_TYPE, TestMetadata } from '../../test/harness/metadata.js';
import { scratch } from '../../test/harness/scratch.js';

const NS = { namespace: 'test' };
const A = digestOf(bytesOf('a'));
const B = digestOf(bytesOf('b'));
const TOO_LONG = { k: 'v'.repeat(4096) };
const JUST_FITS = { k: 'v'.repeat(4095) };
const target = (digest: string, annotations = {}) => ({ mediaType: JSON_TYPE, digest, size: 1, annotations });

const check = (title: string, body: (metadata: TestMetadata) => Promise<void>): void => {
  it(title, async () => {
    await using metadata = await TestMetadata.start();
    await body(metadata);
  });
};

describe('images', () => {
  check('update: each mask changes its field only, none changes all but the time of creation', async ({ images }) => {
    const first = await images.create(NS, {
      name: 'i',
      labels: { a: '1', b: '2', empty: '' },
      target: target(A, { x: '1', y: '2' }),
    });
    assert.deepEqual(first.labels, { a: '1', b: '2' });
    const other = { name: 'i', labels: { a: '', c: '3' }, target: target(B, { y: '', z: '3' }) };
    assert.deepEqual((await images.update(NS, other, ['labels.a', 'labels.c'])).labels, { b: '2', c: '3' });
    const annotated = await images.update(NS, other, ['annotations.y', 'annotations.z']);
    assert.deepEqual(annotated.target, target(A, { x: '1', z: '3' }));
    assert.deepEqual((await images.update(NS, other, ['labels'])).labels, { c: '3' });
    const retargeted = await images.update(NS, other, ['target']);
    assert.equal(retargeted.target.digest, B);
    assert.deepEqual(retargeted.labels, { c: '3' });
    const all = await images.update(NS, { name: 'i', labels: { n: '1' }, target: target(A) });
    assert.deepEqual([all.labels, all.target], [{ n: '1' }, target(A)]);
    assert.equal(all.createdAt, first.createdAt);
    assert.ok(all.updatedAt >= first.updatedAt);
    assert.deepEqual(await images.get(NS, 'i'), all);
  });

  check('refusals change nothing', async ({ images }) => {
    const image = await images.create(NS, { name: 'i', labels: JUST_FITS, target: target(A) });
    const invalid = coded('INVALID_ARGUMENT');
    await assert.rejects(images.create(NS, { name: 'i', target: target(B) }), coded('ALREADY_EXISTS', /"i"/));
    await assert.rejects(images.create(NS, { name: '', target: target(B) }), invalid);
    await assert.rejects(images.create(NS, { name: 'x', target: target('sha256:x') }), invalid);
    await assert.rejects(images.create(NS, { name: 'x', target: { ...target(A), size: 0 } }), invalid);
    await assert.rejects(images.create(NS, { name: 'x', target: { ...target(A), mediaType: '' } }), invalid);
    await assert.rejects(images.create(NS, { name: 'x', labels: TOO_LONG, target: target(A) }), invalid);
    await assert.rejects(images.update(NS, { ...image, labels: TOO_LONG }, ['labels']), invalid);
    await assert.rejects(images.update(NS, { ...image, target: target(B) }, ['target', 'nonsense']), invalid);
    await assert.rejects(images.update(NS, { ...image, name: 'ghost' }), coded('NOT_FOUND', /"ghost"/));
    await assert.rejects(images.delete(NS, 'ghost'), coded('NOT_FOUND', /"ghost"/));
    await assert.rejects(images.delete(NS, 'i', { target: target(B) }), coded('NOT_FOUND'));
    assert.deepEqual(await images.list(NS), [image]);
    await images.delete(NS, 'i', { target: target(A) });
    assert.deepEqual(await images.list(NS), []);
  });

  check('filters: any may match; a malformed one is refused', async ({ images }) => {
    for (const name of ['one', 'two', 'three']) {
      await images.create(NS, { name, labels: { length: `${name.length}` }, target: target(name === 'one' ? A : B) });
    }
    const names = async (...filters: string[]) => (await images.list(NS, filters)).map(({ name }) => name);
    assert.deepEqual(await names('name==two'), ['two']);
    assert.deepEqual(await names(`target.digest==${A}`), ['one']);
    assert.deepEqual(await names('labels.length==3,name!=one'), ['two']);
    assert.deepEqual(await names('name==one', 'name~=^th'), ['one', 'three']);
    assert.deepEqual(await names('labels.none'), []);
    await assert.rejects(names('name=='), coded('INVALID_ARGUMENT'));
  });
});

describe('containers', () => {
  const any = (text: string) => ({ typeUrl: 'type', value: new Uint8Array(bytesOf(text)) });

  check('are kept exactly, and updated by mask', async ({ containers }) => {
    const runtime = { name: 'r', options: any('options') };
    const given = container('c', { image: 'i', runtime, extensions: { a: any('1'), b: any('2') }, sandbox: 's' });
    const created = await containers.create(NS, given);
    const read = await containers.get(NS, 'c');
    assert.deepEqual(read, { ...created, spec: { ...given.spec, value: new Uint8Array(given.spec.value) } });
    const next = { ...given, image: 'j', snapshotter: 'native', snapshotKey: 'k', extensions: { a: any('3') } };
    const extended = await containers.update(NS, next, ['extensions.a', 'extensions.b', 'image']);
    assert.deepEqual(Object.keys(extended.extensions), ['a']);
    assert.equal(Buffer.from(extended.extensions.a?.value ?? []).toString(), '3');
    assert.deepEqual([extended.image, extended.snapshotKey], ['j', '']);
    const all = await containers.update(NS, { ...given, labels: { l: '1' }, spec: any('spec'), image: 'k' });
    assert.deepEqual([all.labels, all.image, Object.keys(all.extensions)], [{ l: '1' }, 'k', ['a', 'b']]);
    assert.equal(all.createdAt, created.createdAt);
  });

  check('refusals', async ({ containers }) => {
    const made = await containers.create(NS, container('c'));
    const invalid = coded('INVALID_ARGUMENT');
    await assert.rejects(containers.create(NS, container('c')), coded('ALREADY_EXISTS', /"c"/));
    await assert.rejects(containers.create(NS, container('../c')), invalid);
    await assert.rejects(containers.create(NS, container('d', { runtime: { name: '' } })), invalid);
    await assert.rejects(containers.create(NS, container('d', { spec: { ...any(''), typeUrl: '' } })), invalid);
    await assert.rejects(containers.create(NS, container('d', { snapshotKey: 'k' })), invalid);
    await assert.rejects(containers.create(NS, container('d', { labels: TOO_LONG })), invalid);
    await assert.rejects(containers.update(NS, { ...made, snapshotter: 'x' }), coded('INVALID_ARGUMENT', /immutable/));
    const renamed = { ...made, runtime: { name: 'x' } };
    await assert.rejects(containers.update(NS, renamed), coded('INVALID_ARGUMENT', /immutable/));
    for (const path of ['snapshotter', 'runtime.name', 'id', '']) {
      await assert.rejects(containers.update(NS, made, [path]), invalid, path);
    }
    await assert.rejects(containers.update(NS, container('ghost')), coded('NOT_FOUND'));
    await assert.rejects(containers.delete(NS, 'ghost'), coded('NOT_FOUND', /"ghost"/));
    assert.equal((await containers.list(NS, ['runtime.name==io.containerd.runc.v2', 'labels.x'])).length, 1);
  });
});

describe('sandboxes', () => {
  const any = (text: string) => ({ typeUrl: `type/${text}`, value: new Uint8Array(bytesOf(text)) });
  const sandbox = (id: string, rest: Partial<NewSandbox> = {}): NewSandbox => ({
    id,
    labels: {},
    runtime: { name: 'vm' },
    extensions: {},
    sandboxer: 'pods',
    ...rest,
  });

  check('are kept exactly, and updated by mask', async ({ sandboxes }) => {
    const runtime = { name: 'vm', options: any('options') };
    const given = sandbox('s', { runtime, spec: any('spec'), labels: { a: '1' }, extensions: { x: any('x') } });
    const created = await sandboxes.create(NS, given);
    assert.deepEqual(await sandboxes.get(NS, 's'), created);
    assert.deepEqual(created, { ...given, createdAt: created.createdAt, updatedAt: created.createdAt });
    const next = sandbox('s', { runtime: { name: 'other' }, labels: { b: '2' }, extensions: { y: any('y') } });
    assert.deepEqual((await sandboxes.update(NS, next, ['labels.b', 'extensions.y'])).labels, { a: '1', b: '2' });
    assert.deepEqual(Object.keys((await sandboxes.get(NS, 's')).extensions), ['x', 'y']);
    assert.equal((await sandboxes.update(NS, next, ['spec'])).spec, undefined);
    assert.deepEqual((await sandboxes.update(NS, next, ['runtime'])).runtime, { name: 'other' });
    const all = await sandboxes.update(NS, next);
    assert.deepEqual([all.labels, Object.keys(all.extensions)], [{ b: '2' }, ['y']]);
    assert.equal(all.createdAt, created.createdAt);
  });

  check('refusals', async ({ sandboxes, namespaces }) => {
    const made = await sandboxes.create(NS, sandbox('s'));
    const invalid = coded('INVALID_ARGUMENT');
    await assert.rejects(sandboxes.create(NS, sandbox('s')), coded('ALREADY_EXISTS', /"s"/));
    await assert.rejects(sandboxes.create(NS, sandbox('../s')), invalid);
    await assert.rejects(sandboxes.create(NS, sandbox('t', { labels: TOO_LONG })), invalid);
    await assert.rejects(sandboxes.create(NS, sandbox('t', { extensions: { '': any('x') } })), invalid);
    const renamed = { ...made, runtime: { name: 'x' } };
    await assert.rejects(sandboxes.update(NS, renamed), coded('INVALID_ARGUMENT', /immutable/));
    await assert.rejects(sandboxes.update(NS, made, ['sandboxer']), coded('INVALID_ARGUMENT', /"sandboxer"/));
    await assert.rejects(sandboxes.update(NS, sandbox('')), invalid);
    await assert.rejects(sandboxes.update(NS, sandbox('none')), coded('NOT_FOUND', /"none"/));
    await assert.rejects(namespaces.delete('test'), coded('FAILED_PRECONDITION', /sandboxes/));
    await sandboxes.delete(NS, 's');
    await assert.rejects(sandboxes.delete(NS, 's'), coded('NOT_FOUND', /"s"/));
    await assert.rejects(sandboxes.get(NS, 's'), coded('NOT_FOUND', /"s"/));
    await namespaces.delete('test');
  });

  check('filters, in their namespace', async ({ sandboxes }) => {
    await sandboxes.create(NS, sandbox('b', { labels: { l: '1' } }));
    await sandboxes.create(NS, sandbox('a', { runtime: { name: 'r' }, sandboxer: 'x' }));
    await sandboxes.create({ namespace: 'other' }, sandbox('c'));
    const ids = async (...filters: string[]) => (await sandboxes.list(NS, filters)).map(({ id }) => id);
    assert.deepEqual(await ids(), ['a', 'b']);
    assert.deepEqual(await ids('id==b'), ['b']);
    assert.deepEqual(await ids('runtime.name==r'), ['a']);
    assert.deepEqual(await ids('sandboxer==x', 'labels.l==1'), ['a', 'b']);
    await assert.rejects(ids('id~=/(/'), coded('INVALID_ARGUMENT'));
  });

  it('survive a restart; records of the version before them have none', async () => {
    await using directory = await scratch('metadata');
    {
      await using before = await TestMetadata.start({ directory: directory.path });
      await before.sandboxes.create(NS, sandbox('s'));
      await before.containers.create(NS, container('c'));
    }
    {
      await using after = await TestMetadata.start({ directory: directory.path });
      assert.equal((await after.sandboxes.get(NS, 's')).sandboxer, 'pods');
    }
    const file = join(directory.path, 'root/io.containerd.metadata.v1.bolt/metadata.sqlite');
    const old = new DatabaseSync(file);
    old.exec('DROP TABLE sandboxes; PRAGMA user_version = 1');
    old.close();
    await using upgraded = await TestMetadata.start({ directory: directory.path });
    assert.deepEqual(await upgraded.sandboxes.list(NS), []);
    assert.equal((await upgraded.containers.get(NS, 'c')).id, 'c');
    await upgraded.sandboxes.create(NS, sandbox('s'));
  });
});

describe('content and snapshots', () => {
  check('labels of content: masks, limits, filters', async (metadata) => {
    const { content } = metadata;
    await metadata.put(NS, 'a', { a: '1', b: '2' });
    await metadata.put(NS, 'b');
    assert.deepEqual((await content.update(NS, A, { a: '', c: '3' }, ['labels.a', 'labels.c'])).labels, {
      b: '2',
      c: '3',
    });
    assert.deepEqual((await content.update(NS, A, { d: '4' })).labels, { d: '4' });
    await assert.rejects(content.update(NS, A, {}, ['size']), coded('INVALID_ARGUMENT', /"size"/));
    await assert.rejects(content.update(NS, A, TOO_LONG), coded('INVALID_ARGUMENT'));
    await assert.rejects(content.update(NS, digestOf(bytesOf('x')), {}), coded('NOT_FOUND'));
    await assert.rejects(content.info(NS, 'sha256:../../x'), coded('INVALID_ARGUMENT'));
    await assert.rejects(metadata.put(NS, 'c', TOO_LONG), coded('INVALID_ARGUMENT'));
    assert.deepEqual(
      (await Array.fromAsync(content.walk(NS, ['labels.d==4']))).map(({ digest }) => digest),
      [A],
    );
    await content.delete(NS, A);
    await assert.rejects(content.delete(NS, A), coded('NOT_FOUND'));
  });

  for (const snapshotter of ['overlayfs', 'native']) {
    check(`snapshots on ${snapshotter}: states, labels, refusals`, async (metadata) => {
      const { snapshots } = metadata;
      await metadata.layer(NS, snapshotter, 'base', '', { a: '1', 'containerd.io/snapshot/x': '1' });
      await snapshots.prepare(NS, snapshotter, 'active', 'base', { b: '2' });
      await snapshots.view(NS, snapshotter, 'view', 'base');
      const kinds = (await Array.fromAsync(snapshots.walk(NS, snapshotter))).map(({ name, kind, parent }) => [
        name,
        kind,
        parent,
      ]);
      assert.deepEqual(kinds, [
        ['active', 'active', 'base'],
        ['base', 'committed', ''],
        ['view', 'view', 'base'],
      ]);
      const masked = { a: '', c: '3', 'containerd.io/snapshot/x': '2' };
      const updated = await snapshots.update(NS, snapshotter, 'base', masked, [
        'labels.a',
        'labels.containerd.io/snapshot/x',
      ]);
      assert.deepEqual(updated.labels, { 'containerd.io/snapshot/x': '2' });
      assert.deepEqual((await snapshots.update(NS, snapshotter, 'base', { d: '4' })).labels, { d: '4' });
      const parent = coded('FAILED_PRECONDITION', /children/);
      await assert.rejects(snapshots.remove(NS, snapshotter, 'base'), parent);
      await assert.rejects(snapshots.update(NS, snapshotter, 'base', {}, ['kind']), coded('INVALID_ARGUMENT'));
      await assert.rejects(snapshots.prepare(NS, snapshotter, 'x', 'ghost'), coded('NOT_FOUND', /"ghost"/));
      await assert.rejects(snapshots.prepare(NS, snapshotter, 'x', 'active'), coded('INVALID_ARGUMENT'));
      await assert.rejects(snapshots.prepare(NS, snapshotter, 'x', '', TOO_LONG), coded('INVALID_ARGUMENT'));
      await assert.rejects(snapshots.prepare(NS, snapshotter, 'view', ''), coded('ALREADY_EXISTS', /"view"/));
      await assert.rejects(snapshots.commit(NS, snapshotter, 'y', 'ghost'), coded('NOT_FOUND'));
      await assert.rejects(snapshots.commit(NS, snapshotter, 'y', 'view'), coded('FAILED_PRECONDITION'));
      await assert.rejects(snapshots.mounts(NS, snapshotter, 'base'), coded('FAILED_PRECONDITION'));
      await assert.rejects(snapshots.stat(NS, 'ghost', 'base'), coded('INVALID_ARGUMENT', /snapshotter not loaded/));
      const left = (await metadata.onDisk()).snapshots.filter((name) => /:(x|y)$/.test(name));
      assert.deepEqual(left, [], 'a refused call leaves nothing');
    });
  }
});

check('events come after what they tell of is there, and none for what is refused', async (metadata) => {
  await using events = metadata.record();
  await metadata.put(NS, 'a');
  await metadata.image(NS, 'i', A, { l: '1' });
  await assert.rejects(metadata.image(NS, 'i', A), coded('ALREADY_EXISTS'));
  await metadata.images.update(NS, { name: 'i', target: target(A) });
  await metadata.containers.create(NS, container('c'));
  await metadata.containers.update(NS, container('c'));
  await metadata.containers.delete(NS, 'c');
  await metadata.layer(NS, 'native', 's');
  await metadata.snapshots.remove(NS, 'native', 's');
  await metadata.namespaces.create({ name: 'n', labels: {} });
  await metadata.namespaces.update({ name: 'n', labels: {} });
  await metadata.namespaces.delete('n');
  await metadata.images.delete(NS, 'i');
  await metadata.content.delete(NS, A);
  await eventually('the last event', () => events.seen.some(({ topic }) => topic === '/content/delete') || undefined);
  const topics = events.seen.map(({ topic }) => topic);
  const expected = [
    ...['/content/create', '/images/create', '/images/update'],
    ...['/containers/create', '/containers/update', '/containers/delete'],
    ...['/snapshot/prepare', '/snapshot/commit', '/snapshot/remove'],
    ...['/namespaces/create', '/namespaces/update', '/namespaces/delete', '/images/delete', '/content/delete'],
  ];
  assert.deepEqual(topics, expected);
  const created = events.seen[1]?.event;
  assert.equal(created?.typeUrl, 'containerd.services.images.v1.ImageCreate');
  assert.deepEqual(ImageCreate.decode(created.value), ImageCreate.fromPartial({ name: 'i', labels: { l: '1' } }));
  assert.ok(events.seen.every(({ namespace }) => ['test', 'n'].includes(namespace)));
});

check('a snapshot that its backend could not flush is not there, and can be made again', async (metadata) => {
  const backend = metadata.kernel.get(Snapshotters).get('native');
  assert.ok(backend);
  const prepare = backend.prepare.bind(backend);
  backend.prepare = async (key, parent, labels, options) => {
    const mounts = await prepare(key, parent, labels);
    options?.onDisk?.(Promise.reject(dataLoss('the disk failed')));
    return mounts;
  };
  await assert.rejects(metadata.snapshots.prepare(NS, 'native', 'key', ''), coded('DATA_LOSS', /the disk failed/));
  backend.prepare = prepare;
  await assert.rejects(metadata.snapshots.stat(NS, 'native', 'key'), coded('NOT_FOUND'));
  await metadata.collector.collect();
  assert.deepEqual((await metadata.onDisk()).snapshots, []);
  await metadata.snapshots.prepare(NS, 'native', 'key', '');
});
