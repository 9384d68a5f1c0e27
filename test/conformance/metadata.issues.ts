/** One check for each bug that namespaced records had before, with its link. */
import assert from 'node:assert/strict';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import type { Checks } from './metadata.js';
import { A, type MetadataBench, newContainer, rejects, SN } from './metadata.workbench.js';

const DIGEST = digestOf(Buffer.from('text'));

/** Puts the blob there under the lease, or has it held when it is there. */
async function leasedBlob(bench: MetadataBench, lease: string): Promise<void> {
  const work = bench.blob({ ...A, lease }, 'text');
  await work.catch((error: unknown) => {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  });
}

export const issueChecks: Checks = {
  async 'https://github.com/containerd/containerd/issues/2695: an image that is removed and made anew at once has its content'(
    bench,
  ) {
    const { images, leases, content } = bench.services;
    let collected: Promise<void> = Promise.resolve();
    for (let round = 0; round < 20; round += 1) {
      await leases.create(A, { id: 'l' });
      await leasedBlob(bench, 'l');
      await bench.image(A, 'image', DIGEST);
      await leases.delete(A, 'l');
      await collected;
      await (await content.reader(A, DIGEST)).close();
      await images.delete(A, 'image');
      collected = bench.collect();
    }
    await collected;
  },

  async 'https://github.com/containerd/containerd/pull/10764: a layer that is said to be here can be built upon'(
    bench,
  ) {
    const { leases, snapshots } = bench.services;
    await bench.layer(A, 'lower');
    await leases.create(A, { id: 'l' });
    const leased = { ...A, lease: 'l' };
    const labels = { 'containerd.io/snapshot.ref': 'lower' };
    await rejects('ALREADY_EXISTS', snapshots.prepare(leased, SN, 'extract lower', '', labels));
    await bench.collect();
    await snapshots.prepare(leased, SN, 'extract upper', 'lower');
    assert.deepEqual(await bench.keys(A), ['extract upper', 'lower']);
  },

  async 'https://github.com/containerd/containerd/pull/2696: content that is here at the commit is held by the lease'(
    bench,
  ) {
    const { content, leases } = bench.services;
    await bench.blob(A, 'text');
    for (const [lease, expectation] of Object.entries({ unpromised: {}, promised: { expected: DIGEST } })) {
      await leases.create(A, { id: lease });
      const writer = await content.writer({ ...A, lease }, { ref: lease });
      await writer.write(Buffer.from('text'));
      await rejects('ALREADY_EXISTS', writer.commit(expectation));
      await writer.close();
      assert.deepEqual(await leases.resources(A, lease), [{ type: 'content', id: DIGEST }]);
    }
    await bench.collect();
    assert.deepEqual(await bench.digests(A), [DIGEST]);
  },

  async 'https://github.com/containerd/containerd/issues/3394: content is recorded by a digest that nobody promised'(
    bench,
  ) {
    const { content } = bench.services;
    const writer = await content.writer(A, { ref: 'no promise' });
    await writer.write(Buffer.from('text'));
    assert.equal((await writer.commit({})).digest, DIGEST);
    assert.equal((await content.info(A, DIGEST)).size, 4);
  },

  async 'https://github.com/containerd/containerd/pull/1366: an update by mask answers with the whole container, as it is kept'({
    services: { containers },
  }) {
    const given = newContainer('c', { image: 'image', snapshotter: SN, snapshotKey: 'key', labels: { a: '1' } });
    await containers.create(A, given);
    const updated = await containers.update(A, { ...newContainer('c'), labels: { b: '2' } }, ['labels.b']);
    assert.deepEqual(updated, await containers.get(A, 'c'));
    assert.deepEqual([updated.image, updated.snapshotKey, updated.labels], ['image', 'key', { a: '1', b: '2' }]);
  },

  async 'https://github.com/containerd/containerd/issues/2494, 1450: labels with slashes and dashes are found, in quotes'({
    services: { containers },
  }) {
    await containers.create(A, newContainer('one', { labels: { 'io.cri-containerd/kind': 'sandbox' } }));
    await containers.create(A, newContainer('two', { labels: { 'io.cri-containerd/kind': 'other' } }));
    const found = await containers.list(A, ['labels."io.cri-containerd/kind"==sandbox']);
    assert.deepEqual(
      found.map(({ id }) => id),
      ['one'],
    );
    await rejects('INVALID_ARGUMENT', containers.list(A, ['labels.io.cri-containerd/kind==sandbox']));
  },

  async 'https://github.com/moby/moby/pull/42020: who waits for the last of several leases waits until all is gone'(
    bench,
  ) {
    const { leases } = bench.services;
    for (const id of ['one', 'two']) {
      await leases.create(A, { id });
      await bench.blob({ ...A, lease: id }, id);
    }
    await leases.delete(A, 'one');
    await leases.delete(A, 'two', { sync: true });
    assert.deepEqual(await bench.digests(A), []);
  },
};
