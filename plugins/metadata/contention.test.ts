/** Many clients at the same thing at once: one does it, the others get a definite answer. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { codeOf } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { bytesOf, TestMetadata } from '../../test/harness/metadata.js';

const NS = { namespace: 'test' };
const CLIENTS = 64;

const outcomes = (results: readonly PromiseSettledResult<unknown>[]): string[] =>
  results.map((result) => (result.status === 'fulfilled' ? 'OK' : codeOf(result.reason)));

const times = <T>(what: (index: number) => Promise<T>): Promise<PromiseSettledResult<T>[]> =>
  Promise.allSettled(Array.from({ length: CLIENTS }, (_, index) => what(index)));

it(`of ${CLIENTS} writers of one ingest one writes, the others are told so, later ones that it is there`, async () => {
  await using metadata = await TestMetadata.start();
  const bytes = bytesOf('one blob');
  const expected = digestOf(bytes);
  const open = () => metadata.content.writer(NS, { ref: 'r', expected, total: bytes.length });
  const opened = await times(open);
  const writers = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  assert.equal(writers.length, 1);
  assert.equal(outcomes(opened).filter((outcome) => outcome === 'UNAVAILABLE').length, CLIENTS - 1);
  const [writer] = writers;
  await writer?.write(bytes);
  await writer?.commit({ expected });
  await writer?.close();
  assert.deepEqual(new Set(outcomes(await times(open))), new Set(['ALREADY_EXISTS']));
  assert.deepEqual(await metadata.digests(NS), [expected]);
  assert.deepEqual(await metadata.content.statuses(NS), []);
});

it('an image that goes while containers are made of it: each has its snapshots whole, or is told that they are gone', async () => {
  await using metadata = await TestMetadata.start();
  for (let round = 0; round < 5; round++) {
    await metadata.layer(NS, 'overlayfs', 'base');
    await metadata.layer(NS, 'overlayfs', 'top', 'base');
    const config = await metadata.put(NS, `config ${round}`, { 'containerd.io/gc.ref.snapshot.overlayfs': 'top' });
    await metadata.image(NS, 'i', config);
    const deleting = metadata.images.delete(NS, 'i', { sync: true });
    const root = { 'containerd.io/gc.root': '1' };
    const made = await times((index) => metadata.snapshots.prepare(NS, 'overlayfs', `c${index}`, 'top', root));
    await deleting;
    await metadata.collector.collect();
    assert.ok(
      outcomes(made).every((outcome) => outcome === 'OK' || outcome === 'NOT_FOUND'),
      String(outcomes(made)),
    );
    const keys = made.flatMap(({ status }, index) => (status === 'fulfilled' ? [`c${index}`] : []));
    const kept = keys.length > 0 ? ['base', 'top', ...keys] : [];
    assert.deepEqual((await metadata.snapshotNames(NS, 'overlayfs')).sort(), kept.sort());
    for (const key of keys) await metadata.snapshots.remove(NS, 'overlayfs', key);
    await metadata.collector.collect();
    assert.deepEqual(await metadata.onDisk(), { blobs: [], snapshots: [] });
  }
});
