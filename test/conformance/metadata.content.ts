import assert from 'node:assert/strict';
import type { ContentWriter } from '../../kernel/contracts/content.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import type { Checks } from './metadata.js';
import { A, all, B, type MetadataBench, rejects, tick } from './metadata.workbench.js';

const HELLO = Buffer.from('hello');
const DIGEST = digestOf(HELLO);

async function read(bench: MetadataBench, scope: Scope, digest: string): Promise<string> {
  const reader = await bench.services.content.reader(scope, digest);
  const target = Buffer.alloc(reader.size);
  await reader.read(target, 0);
  await reader.close();
  return target.toString();
}

export const contentChecks: Checks = {
  async 'is seen where it was committed, with its labels'(bench) {
    const { content } = bench.services;
    const info = await bench.commit(A, 'r', 'hello', { x: '1', gone: '' });
    assert.deepEqual([info.digest, info.size, info.labels], [DIGEST, 5, { x: '1' }]);
    assert.deepEqual(await content.info(A, DIGEST), info);
    assert.equal(await read(bench, A, DIGEST), 'hello');
    assert.deepEqual(await content.statuses(A), []);
    await rejects('NOT_FOUND', content.info(B, DIGEST));
    await rejects('NOT_FOUND', content.reader(B, DIGEST));
    await rejects('NOT_FOUND', content.update(B, DIGEST, {}));
    await rejects('NOT_FOUND', content.delete(B, DIGEST));
    assert.deepEqual(await bench.digests(B), []);
    await bench.restart();
    assert.equal(await read(bench, A, DIGEST), 'hello');
  },

  async 'tells of its coming and going'(bench) {
    await bench.blob(A, 'hello');
    await bench.services.content.delete(A, DIGEST);
    await rejects('NOT_FOUND', bench.services.content.delete(A, DIGEST));
    assert.deepEqual(await bench.topics(), ['a /content/create', 'a /content/delete']);
    bench.eventsName(DIGEST);
  },

  async 'is deleted alone'(bench) {
    const other = await bench.blob(A, 'other');
    await bench.blob(A, 'hello');
    await bench.services.content.delete(A, DIGEST);
    assert.deepEqual(await bench.digests(A), [other]);
    assert.equal(await read(bench, A, other), 'other');
  },

  async 'is verified where it is held'(bench) {
    const { content } = bench.services;
    await bench.blob(A, 'hello');
    assert.equal(await content.verify(A, DIGEST), true);
    await rejects('NOT_FOUND', content.verify(B, DIGEST));
    await rejects('NOT_FOUND', content.verify(A, digestOf(Buffer.from('nothing'))));
    assert.equal(await read(bench, A, DIGEST), 'hello');
  },

  async 'malformed digests are refused'({ services: { content } }) {
    for (const digest of ['', 'sha256:../../x', DIGEST.toUpperCase(), DIGEST.slice(0, -1), 'md5:00']) {
      await rejects('INVALID_ARGUMENT', content.info(A, digest));
      await rejects('INVALID_ARGUMENT', content.reader(A, digest));
      await rejects('INVALID_ARGUMENT', content.delete(A, digest));
      await rejects('INVALID_ARGUMENT', content.update(A, digest, {}));
      if (digest !== '') await rejects('INVALID_ARGUMENT', content.writer(A, { ref: 'r', expected: digest }));
    }
    await rejects('INVALID_ARGUMENT', content.writer(A, { ref: '' }));
    assert.deepEqual(await content.statuses(A), []);
  },

  async 'labels are updated by mask'(bench) {
    const { content } = bench.services;
    await bench.commit(A, 'r', 'hello', { a: '1', b: '2' });
    const before = await content.info(A, DIGEST);
    await tick();
    const masked = await content.update(A, DIGEST, { a: '', c: '3', d: '4' }, ['labels.a', 'labels.c']);
    assert.deepEqual(masked.labels, { b: '2', c: '3' });
    assert.equal(masked.createdAt, before.createdAt);
    assert.ok(masked.updatedAt > before.updatedAt, 'updatedAt is the time of the update');
    assert.deepEqual((await content.update(A, DIGEST, { z: '1' })).labels, { z: '1' });
    assert.deepEqual((await content.update(A, DIGEST, { y: '1' }, ['labels'])).labels, { y: '1' });
    await rejects('INVALID_ARGUMENT', content.update(A, DIGEST, {}, ['size']));
    await rejects('INVALID_ARGUMENT', content.update(A, DIGEST, { k: 'v'.repeat(4096) }));
    assert.deepEqual((await content.info(A, DIGEST)).labels, { y: '1' });
  },

  async 'is walked in order, filtered by digest and labels'(bench) {
    const digests = await Promise.all(Array.from({ length: 450 }, (_, i) => bench.blob(A, `blob ${i}`)));
    assert.deepEqual(await bench.digests(A), digests.toSorted());
    const [first = ''] = digests;
    await bench.services.content.update(A, first, { 'x.y/z': 'v' });
    const found = async (filter: string) => (await all(bench.services.content.walk(A, [filter]))).map((i) => i.digest);
    assert.deepEqual(await found(`digest==${first}`), [first]);
    assert.deepEqual(await found('labels."x.y/z"==v'), [first]);
    await assert.rejects(found('digest='), (error) => hasCode(error, 'INVALID_ARGUMENT'));
  },

  async 'a writer resumes where it was closed'(bench) {
    const { content } = bench.services;
    const first = await content.writer(A, { ref: 'r', total: 5 });
    await first.write(HELLO.subarray(0, 2));
    await rejects('UNAVAILABLE', content.writer(A, { ref: 'r' }));
    await (await content.writer(B, { ref: 'r' })).close();
    await first.close();
    const status = await content.status(A, 'r');
    assert.deepEqual([status.ref, status.offset, status.total], ['r', 2, 5]);
    await bench.restart();
    const again = await bench.services.content.writer(A, { ref: 'r', total: 5, expected: DIGEST });
    assert.equal(again.status().offset, 2);
    assert.equal(again.status().ref, 'r');
    await again.write(HELLO.subarray(2));
    assert.equal((await again.commit({ size: 5, expected: DIGEST })).digest, DIGEST);
  },

  async 'statuses are per namespace and filtered by ref'({ services: { content } }) {
    for (const ref of ['one', 'two']) await (await content.writer(A, { ref })).close();
    await (await content.writer(B, { ref: 'three' })).close();
    assert.deepEqual(
      (await content.statuses(A)).map(({ ref }) => ref),
      ['one', 'two'],
    );
    assert.deepEqual(
      (await content.statuses(A, ['ref~=^t'])).map(({ ref }) => ref),
      ['two'],
    );
    await rejects('NOT_FOUND', content.status(B, 'one'));
  },

  async 'wrong size or digest is FAILED_PRECONDITION, and the ingest is kept'({ services: { content } }) {
    const writer = await content.writer(A, { ref: 'r' });
    await writer.write(HELLO);
    await rejects('FAILED_PRECONDITION', writer.commit({ size: 6 }));
    await rejects('FAILED_PRECONDITION', writer.commit({ expected: digestOf(Buffer.from('x')) }));
    await rejects('INVALID_ARGUMENT', writer.commit({ expected: 'sha256:x' }));
    await rejects('INVALID_ARGUMENT', writer.commit({ labels: { k: 'v'.repeat(4096) } }));
    await writer.close();
    assert.equal((await content.status(A, 'r')).offset, 5);
    const again = await content.writer(A, { ref: 'r' });
    assert.equal((await again.commit({ expected: DIGEST })).size, 5);
  },

  async 'bytes that can only end in another digest are not resumed'({ services: { content } }) {
    const writer = await content.writer(A, { ref: 'r', total: 5 });
    await writer.write(Buffer.from('wrong'));
    await writer.close();
    const again = await content.writer(A, { ref: 'r', total: 5, expected: DIGEST });
    assert.equal(again.status().offset, 0);
    await again.close();
  },

  async 'that the namespace holds is ALREADY_EXISTS, and the ingest goes'(bench) {
    const { content } = bench.services;
    const late = await content.writer(A, { ref: 'late' });
    await late.write(HELLO);
    await (await content.writer(A, { ref: 'idle' })).close();
    await bench.blob(A, 'hello');
    await rejects('ALREADY_EXISTS', content.writer(A, { ref: 'idle', expected: DIGEST }));
    await rejects('ALREADY_EXISTS', late.commit({ labels: { x: '1' } }));
    await late.close();
    assert.deepEqual(await content.statuses(A), []);
    assert.deepEqual((await content.info(A, DIGEST)).labels, {});
  },

  async 'shared: held by another namespace it needs no upload, only a commit'(bench) {
    const { content } = bench.services;
    await bench.blob(A, 'hello', { of: 'a' });
    const writer = await content.writer(B, { ref: 'r', total: 5, expected: DIGEST });
    assert.deepEqual([writer.status().offset, writer.status().total, writer.digest()], [5, 5, DIGEST]);
    await rejects('NOT_FOUND', content.info(B, DIGEST));
    assert.equal((await content.status(B, 'r')).offset, 5);
    await rejects('FAILED_PRECONDITION', writer.commit({ size: 4 }));
    await rejects('FAILED_PRECONDITION', writer.commit({ expected: digestOf(Buffer.from('x')) }));
    await writer.commit({ size: 5, expected: DIGEST, labels: { of: 'b' } });
    assert.deepEqual((await content.info(B, DIGEST)).labels, { of: 'b' });
    await content.delete(A, DIGEST);
    await bench.image(B, 'image', DIGEST);
    await bench.collect();
    assert.equal(await read(bench, B, DIGEST), 'hello');
  },

  async 'shared: whoever writes to such a writer writes bytes of his own'(bench) {
    await bench.blob(A, 'hello');
    const writer = await bench.services.content.writer(B, { ref: 'r', expected: DIGEST });
    await writer.write(Buffer.from(', world'));
    assert.equal(writer.status().offset, 12);
    const info = await writer.commit({ expected: digestOf(Buffer.from('hello, world')) });
    assert.equal(await read(bench, B, info.digest), 'hello, world');
    const second = await bench.services.content.writer(B, { ref: 's', expected: DIGEST });
    await second.truncate(bench.can.truncateAnywhere ? 2 : 0);
    await second.write(Buffer.from(bench.can.truncateAnywhere ? 'y' : 'hey'));
    await second.commit({ expected: digestOf(Buffer.from('hey')) });
    assert.equal(await read(bench, A, DIGEST), 'hello');
  },

  async 'shared: another size than promised is not taken for it'(bench) {
    await bench.blob(A, 'hello');
    const writer = await bench.services.content.writer(B, { ref: 'r', total: 4, expected: DIGEST });
    assert.equal(writer.status().offset, 0);
    await writer.close();
  },

  async 'isolated: the bytes must be shown'(bench) {
    const { content } = bench.services;
    await bench.blob(A, 'hello');
    const writer = await content.writer(B, { ref: 'r', total: 5, expected: DIGEST });
    assert.equal(writer.status().offset, 0);
    await rejects('FAILED_PRECONDITION', writer.commit({ size: 5, expected: DIGEST }));
    await writer.write(HELLO);
    await writer.commit({ size: 5, expected: DIGEST });
    assert.equal(await read(bench, B, DIGEST), 'hello');
  },

  async 'isolated: but not those of a namespace that shares'(bench) {
    await bench.blob(A, 'hello');
    const labels = { 'containerd.io/namespace.shareable': 'true' };
    await bench.services.namespaces.update({ name: 'a', labels });
    const writer = await bench.services.content.writer(B, { ref: 'r', total: 5, expected: DIGEST });
    assert.equal(writer.status().offset, 5);
    await writer.close();
  },

  async 'an aborted ingest is gone, also while it is being written'(bench) {
    const { content } = bench.services;
    const writer = await content.writer(A, { ref: 'r' });
    await writer.write(HELLO);
    await content.abort(A, 'r');
    await rejects('NOT_FOUND', content.abort(A, 'r'));
    await rejects('NOT_FOUND', content.status(A, 'r'));
    await rejects('ABORTED', writer.commit({}));
    await writer.close();
    assert.deepEqual(await bench.digests(A), []);
    const again = await content.writer(A, { ref: 'r' });
    assert.equal(again.status().offset, 0);
    await again.close();
  },

  async 'of 64 writers on one ref one writes, and all end with the same content'(bench) {
    const { content } = bench.services;
    const open = async (): Promise<ContentWriter | undefined> => {
      for (;;) {
        try {
          return await content.writer(A, { ref: 'r', total: 5, expected: DIGEST });
        } catch (error) {
          if (hasCode(error, 'ALREADY_EXISTS')) return undefined;
          if (!hasCode(error, 'UNAVAILABLE')) throw error;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      }
    };
    const one = async (): Promise<number> => {
      const writer = await open();
      if (!writer) return 0;
      await writer.write(HELLO);
      await writer.commit({ size: 5, expected: DIGEST });
      return 1;
    };
    const wrote = await Promise.all(Array.from({ length: 64 }, one));
    assert.equal(
      wrote.reduce((sum, count) => sum + count, 0),
      1,
    );
    assert.deepEqual(await bench.digests(A), [DIGEST]);
  },

  async 'committed by many refs at once it is one blob, and one of them made it'(bench) {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, (_, i) => bench.commit(A, `r${i}`, 'the same bytes')),
    );
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.ok(hasCode(outcome.reason, 'ALREADY_EXISTS'), String(outcome.reason));
    }
  },
};
