import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../lib/digest.js';
import { bytesOf, coded, container, TestMetadata } from '../../test/harness/metadata.js';

const ONE = { namespace: 'one' };
const TWO = { namespace: 'two' };

const check = (
  title: string,
  body: (metadata: TestMetadata) => Promise<void>,
  config?: Record<string, unknown>,
): void => {
  it(title, async () => {
    await using metadata = await TestMetadata.start(config && { config });
    await body(metadata);
  });
};

const names = async ({ namespaces }: TestMetadata): Promise<string[]> =>
  (await namespaces.list()).map(({ name }) => name);

describe('namespaces', () => {
  check('appear with the first thing in them, and not with a refused one', async (metadata) => {
    assert.deepEqual(await metadata.namespaces.get('nowhere'), { name: 'nowhere', labels: {} });
    await assert.rejects(metadata.images.get({ namespace: 'read' }, 'x'), coded('NOT_FOUND'));
    await assert.rejects(metadata.containers.delete({ namespace: 'refused' }, 'x'), coded('NOT_FOUND'));
    const digest = await metadata.put({ namespace: 'a-content' }, 'a');
    await metadata.image({ namespace: 'b-image' }, 'i', digest);
    await metadata.containers.create({ namespace: 'c-container' }, container('c'));
    await metadata.leases.create({ namespace: 'd-lease' }, {});
    await metadata.snapshots.prepare({ namespace: 'e-snapshot' }, 'native', 'k', '');
    assert.deepEqual(await names(metadata), ['a-content', 'b-image', 'c-container', 'd-lease', 'e-snapshot']);
  });

  check('keep everything apart', async (metadata) => {
    const digest = await metadata.put(ONE, 'a', { owner: 'one' });
    await metadata.put(TWO, 'a', { owner: 'two' });
    for (const scope of [ONE, TWO]) {
      await metadata.image(scope, 'i', digest, { owner: scope.namespace });
      await metadata.containers.create(scope, container('c', { labels: { owner: scope.namespace } }));
      const labels = { owner: scope.namespace, 'containerd.io/gc.root': '1' };
      await metadata.layer(scope, 'native', 's', '', labels);
      await metadata.leases.create(scope, { id: 'l', labels: { owner: scope.namespace } });
      const writer = await metadata.content.writer(scope, { ref: 'r' });
      await writer.write(bytesOf(scope.namespace));
      await writer.close();
    }
    await metadata.images.delete(ONE, 'i');
    await metadata.containers.delete(ONE, 'c');
    await metadata.snapshots.remove(ONE, 'native', 's');
    await metadata.leases.delete(ONE, 'l', { sync: true });
    await metadata.content.abort(ONE, 'r');
    assert.equal((await metadata.images.get(TWO, 'i')).labels.owner, 'two');
    assert.equal((await metadata.containers.get(TWO, 'c')).labels.owner, 'two');
    assert.equal((await metadata.content.info(TWO, digest)).labels.owner, 'two');
    assert.equal((await metadata.snapshots.stat(TWO, 'native', 's')).labels.owner, 'two');
    assert.equal((await metadata.leases.list(TWO))[0]?.labels.owner, 'two');
    assert.deepEqual(
      (await metadata.content.statuses(TWO)).map(({ ref, offset }) => [ref, offset]),
      [['r', 3]],
    );
    await assert.rejects(metadata.content.info(ONE, digest), coded('NOT_FOUND'));
  });

  check('create, update by mask and without, refusals', async ({ namespaces }) => {
    await namespaces.create({ name: 'n', labels: { a: '1', b: '2', empty: '' } });
    assert.deepEqual((await namespaces.get('n')).labels, { a: '1', b: '2' });
    await namespaces.update({ name: 'n', labels: { a: '', c: '3', d: '4' } }, ['labels.a', 'labels.c']);
    assert.deepEqual((await namespaces.get('n')).labels, { b: '2', c: '3' });
    await namespaces.update({ name: 'n', labels: { e: '5' } });
    assert.deepEqual((await namespaces.get('n')).labels, { e: '5' });
    await assert.rejects(namespaces.update({ name: 'n', labels: {} }, ['name']), coded('INVALID_ARGUMENT', /"name"/));
    await assert.rejects(namespaces.create({ name: 'n', labels: {} }), coded('ALREADY_EXISTS'));
    await assert.rejects(namespaces.create({ name: '../n', labels: {} }), coded('INVALID_ARGUMENT'));
    await assert.rejects(namespaces.create({ name: 'm', labels: { k: 'v'.repeat(4096) } }), coded('INVALID_ARGUMENT'));
    await assert.rejects(namespaces.delete('ghost'), coded('NOT_FOUND'));
  });

  check('a malformed or missing namespace is refused by every call', async (metadata) => {
    for (const namespace of ['', '../x', 'a'.repeat(77), 'a/b']) {
      const scope = { namespace };
      const refused = coded('INVALID_ARGUMENT', /namespace/);
      await assert.rejects(metadata.images.list(scope), refused);
      await assert.rejects(metadata.containers.list(scope), refused);
      await assert.rejects(metadata.leases.create(scope, {}), refused);
      await assert.rejects(metadata.content.writer(scope, { ref: 'r' }), refused);
      await assert.rejects(metadata.snapshots.prepare(scope, 'native', 'k', ''), refused);
      await assert.rejects(metadata.digests(scope), refused);
    }
  });

  check('only an empty one can be deleted; the refusal names what is left', async (metadata) => {
    const { namespaces } = metadata;
    const digest = await metadata.put(ONE, 'a');
    await metadata.image(ONE, 'i', digest);
    await metadata.containers.create(ONE, container('c'));
    await metadata.snapshots.prepare(ONE, 'native', 'k', '');
    const all = /images.*blobs.*containers.*snapshots on "native" snapshotter/;
    await assert.rejects(namespaces.delete('one'), coded('FAILED_PRECONDITION', all));
    await metadata.containers.delete(ONE, 'c');
    await metadata.snapshots.remove(ONE, 'native', 'k');
    await assert.rejects(namespaces.delete('one'), coded('FAILED_PRECONDITION', /has images, blobs$/));
    await metadata.images.delete(ONE, 'i', { sync: true });
    await metadata.leases.create(ONE, {});
    const writer = await metadata.content.writer(ONE, { ref: 'r' });
    await writer.close();
    await namespaces.delete('one');
    assert.deepEqual(await names(metadata), []);
    assert.deepEqual(await metadata.leases.list(ONE), []);
    await metadata.collector.collect();
    assert.deepEqual(await metadata.store.statuses(), []);
  });
});

const ISOLATED = { content_sharing_policy: 'isolated', gc: { startup_delay: '10h' } };
const EXPECTED = { ref: 'r', expected: digestOf(bytesOf('shared')) };

describe('namespaces: sharing of content', () => {
  check('shared: what another holds needs no bytes, only a commit', async (metadata) => {
    const digest = await metadata.put(ONE, 'shared');
    const writer = await metadata.content.writer(TWO, EXPECTED);
    assert.equal(writer.status().offset, 6);
    await assert.rejects(metadata.content.info(TWO, digest), coded('NOT_FOUND'));
    await metadata.content.delete(ONE, digest);
    await metadata.collector.collect();
    await writer.commit({ size: 6, expected: digest, labels: { own: 'label' } });
    assert.deepEqual((await metadata.content.info(TWO, digest)).labels, { own: 'label' });
    assert.deepEqual((await metadata.onDisk()).blobs, [digest]);
  });

  check('shared: a promise not kept is refused, and writing after all makes other content', async (metadata) => {
    await metadata.put(ONE, 'shared');
    const writer = await metadata.content.writer(TWO, EXPECTED);
    await assert.rejects(writer.commit({ size: 7 }), coded('FAILED_PRECONDITION'));
    await assert.rejects(writer.commit({ expected: digestOf(bytesOf('x')) }), coded('FAILED_PRECONDITION'));
    await writer.write(bytesOf('!'));
    const { digest } = await writer.commit({});
    assert.equal(digest, digestOf(bytesOf('shared!')));
  });

  check(
    'isolated: the bytes must be shown',
    async (metadata) => {
      const digest = await metadata.put(ONE, 'shared');
      const writer = await metadata.content.writer(TWO, EXPECTED);
      assert.equal(writer.status().offset, 0);
      await assert.rejects(writer.commit({ expected: digest }), coded('FAILED_PRECONDITION'));
      await writer.write(bytesOf('shared'));
      await writer.commit({ expected: digest });
      assert.deepEqual(await metadata.digests(TWO), [digest]);
    },
    ISOLATED,
  );

  check(
    'isolated: unless a namespace that holds it says that it shares',
    async (metadata) => {
      await metadata.put(ONE, 'shared');
      await metadata.namespaces.update({ name: 'one', labels: { 'containerd.io/namespace.shareable': 'true' } });
      const writer = await metadata.content.writer(TWO, EXPECTED);
      assert.equal(writer.status().offset, 6);
      await writer.close();
    },
    ISOLATED,
  );
});
