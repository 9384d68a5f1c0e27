import assert from 'node:assert/strict';
import type { Labels } from '../../kernel/contracts/scope.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import type { Checks } from './metadata.js';
import { A, B, type MetadataBench, newContainer, rejects, SN } from './metadata.workbench.js';

const GC = 'containerd.io/gc';

const inHours = (hours: number): string => new Date(Date.now() + hours * 3_600_000).toISOString();

/** The texts of the blobs that are left, of those given. */
async function left(bench: MetadataBench, ...texts: string[]): Promise<string[]> {
  const digests = await bench.digests(A);
  return texts.filter((text) => digests.includes(digestOf(Buffer.from(text))));
}

const blobs = async (bench: MetadataBench, texts: Readonly<Record<string, Labels>>): Promise<void> => {
  for (const [text, labels] of Object.entries(texts)) await bench.blob(A, text, labels);
};

const digest = (text: string): string => digestOf(Buffer.from(text));

/** Where the collection is not that far yet, what is to be made is found, which is as good: the lease takes it. */
async function madeOrFound(work: Promise<unknown>): Promise<void> {
  await work.catch((error: unknown) => {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  });
}

export const collectionChecks: Checks = {
  async 'takes what nothing refers to'(bench) {
    await blobs(bench, { one: {}, two: {} });
    await bench.layer(A, 'lower');
    await bench.layer(A, 'upper', 'lower');
    await bench.services.snapshots.prepare(A, SN, 'active', 'upper');
    await bench.collect();
    assert.deepEqual(await bench.digests(A), []);
    assert.deepEqual(await bench.keys(A), []);
    const removals = (await bench.topics()).filter((topic) => topic === 'a /snapshot/remove');
    assert.equal(removals.length, 3);
  },

  async 'keeps images, what they target and what that refers to by label'(bench) {
    await blobs(bench, {
      layer: {},
      config: { [`${GC}.ref.snapshot.${SN}`]: 'upper', [`${GC}.ref.snapshot.${SN}/more`]: 'other' },
      manifest: { [`${GC}.ref.content.config`]: digest('config'), [`${GC}.ref.content.l.0`]: digest('layer') },
      index: { [`${GC}.ref.content`]: digest('manifest'), [`${GC}.ref.contents`]: digest('garbage') },
      garbage: {},
    });
    await bench.layer(A, 'lower');
    await bench.layer(A, 'upper', 'lower');
    await bench.layer(A, 'other');
    await bench.layer(A, 'unused');
    await bench.image(A, 'image', digest('index'));
    await bench.collect();
    assert.deepEqual(await left(bench, 'layer', 'config', 'manifest', 'index', 'garbage'), [
      'layer',
      'config',
      'manifest',
      'index',
    ]);
    assert.deepEqual(await bench.keys(A), ['lower', 'other', 'upper']);
    await bench.services.images.delete(A, 'image', { sync: true });
    assert.deepEqual(await bench.digests(A), []);
    assert.deepEqual(await bench.keys(A), []);
  },

  async 'an image keeps other images by label'(bench) {
    await blobs(bench, { one: {}, two: {} });
    await bench.image(A, 'expired', digest('two'), { [`${GC}.expire`]: inHours(-1) });
    await bench.image(A, 'image', digest('one'), { [`${GC}.ref.image.x`]: 'expired' });
    await bench.collect();
    assert.deepEqual(await left(bench, 'one', 'two'), ['one', 'two']);
  },

  async 'keeps roots, containers with their snapshots, and what containers refer to'(bench) {
    await blobs(bench, { root: { [`${GC}.root`]: 'x' }, referred: {}, garbage: {} });
    await bench.layer(A, 'rootfs');
    await bench.layer(A, 'pinned', '', { [`${GC}.root`]: 'x' });
    await bench.layer(A, 'garbage');
    await bench.services.snapshots.prepare(A, SN, 'c', 'rootfs');
    const labels = { [`${GC}.ref.content`]: digest('referred') };
    await bench.services.containers.create(A, newContainer('c', { snapshotter: SN, snapshotKey: 'c', labels }));
    await bench.collect();
    assert.deepEqual(await left(bench, 'root', 'referred', 'garbage'), ['root', 'referred']);
    assert.deepEqual(await bench.keys(A), ['c', 'pinned', 'rootfs']);
    await bench.services.containers.delete(A, 'c');
    await bench.collect();
    assert.deepEqual(await bench.keys(A), ['pinned']);
  },

  async 'keeps what leases hold, and with it what that refers to; a flat one only itself and parents'(bench) {
    const { leases } = bench.services;
    const build = async (prefix: string, flat: Labels): Promise<void> => {
      await leases.create(A, { id: prefix, labels: flat });
      const leased = { ...A, lease: prefix };
      await bench.blob(A, `${prefix} child`);
      await bench.blob(leased, `${prefix} parent`, { [`${GC}.ref.content`]: digest(`${prefix} child`) });
      await bench.layer(A, `${prefix} lower`);
      await bench.layer(leased, `${prefix} upper`, `${prefix} lower`, {
        [`${GC}.ref.content`]: digest(`${prefix} by snapshot`),
      });
      await bench.blob(A, `${prefix} by snapshot`);
    };
    await build('deep', {});
    await build('flat', { [`${GC}.flat`]: 'x' });
    await bench.collect();
    const all = ['deep', 'flat'].flatMap((p) => [`${p} parent`, `${p} child`, `${p} by snapshot`]);
    assert.deepEqual(await left(bench, ...all), ['deep parent', 'deep child', 'deep by snapshot', 'flat parent']);
    assert.deepEqual(await bench.keys(A), ['deep lower', 'deep upper', 'flat lower', 'flat upper']);
    await leases.delete(A, 'flat');
    await leases.delete(A, 'deep', { sync: true });
    assert.deepEqual(await bench.digests(A), []);
    assert.deepEqual(await bench.keys(A), []);
  },

  async 'an expired lease or image holds nothing and goes'(bench) {
    const { leases, images } = bench.services;
    // Only once all is in place: what has expired already may go between any two of these calls.
    const soon = Date.now() + 2_000;
    const expireSoon = { [`${GC}.expire`]: new Date(soon).toISOString() };
    await leases.create(A, { id: 'past', labels: expireSoon });
    await leases.create(A, { id: 'future', labels: { [`${GC}.expire`]: inHours(1) } });
    await leases.create(A, { id: 'nonsense', labels: { [`${GC}.expire`]: 'soon' } });
    await bench.blob({ ...A, lease: 'past' }, 'past');
    await bench.blob({ ...A, lease: 'future' }, 'future');
    await bench.blob({ ...A, lease: 'nonsense' }, 'nonsense');
    await bench.image(A, 'old', digest('past'), expireSoon);
    await bench.image(A, 'new', digest('future'), { [`${GC}.expire`]: inHours(1) });
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, soon + 1 - Date.now())));
    await bench.collect();
    assert.deepEqual(await left(bench, 'past', 'future', 'nonsense'), ['future', 'nonsense']);
    assert.deepEqual(
      (await leases.list(A)).map(({ id }) => id),
      ['future', 'nonsense'],
    );
    assert.deepEqual(
      (await images.list(A)).map(({ name }) => name),
      ['new'],
    );
    assert.ok((await bench.topics()).includes('a /images/delete'));
  },

  async 'what expires goes by itself, with nobody calling'(bench) {
    const { leases } = bench.services;
    await leases.create(A, { id: 'short', labels: { [`${GC}.expire`]: new Date(Date.now() + 2_000).toISOString() } });
    await bench.blob({ ...A, lease: 'short' }, 'text');
    await bench.collect();
    assert.deepEqual(await left(bench, 'text'), ['text']);
    for (let tries = 0; tries < 200 && (await left(bench, 'text')).length > 0; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual(await left(bench, 'text'), []);
    assert.deepEqual(await leases.list(A), []);
  },

  async 'back references keep a child as long as its parent'(bench) {
    await blobs(bench, {
      owner: { [`${GC}.root`]: 'x' },
      'of content': { [`${GC}.bref.content.x`]: digest('owner') },
      'of image': { [`${GC}.bref.image`]: 'image' },
      'of container': { [`${GC}.bref.container/y`]: 'c' },
      'of snapshot': { [`${GC}.bref.snapshot.${SN}`]: 'layer' },
      'of nobody': { [`${GC}.bref.content`]: digest('nothing') },
    });
    await bench.layer(A, 'layer', '', { [`${GC}.root`]: 'x' });
    await bench.layer(A, 'of the image', '', { [`${GC}.bref.image`]: 'image' });
    await bench.image(A, 'image', digest('owner'));
    await bench.services.containers.create(A, newContainer('c'));
    await bench.collect();
    const texts = ['of content', 'of image', 'of container', 'of snapshot', 'of nobody'];
    assert.deepEqual(await left(bench, ...texts), texts.slice(0, 4));
    assert.deepEqual(await bench.keys(A), ['layer', 'of the image']);
  },

  async 'conditional references hold while the snapshot was used at such a time'(bench) {
    const value = `${GC}.cond.value-usedat`;
    await bench.layer(A, 'recent', '', { [value]: inHours(-1) });
    await bench.layer(A, 'old', '', { [value]: inHours(-48) });
    await bench.layer(A, 'unknown');
    await bench.blob(A, 'config', {
      [`${GC}.cond.snapshot.${SN}/1`]: 'usedat<24h|recent',
      [`${GC}.cond.snapshot.${SN}/2`]: 'usedat<24h|old',
      [`${GC}.cond.snapshot.${SN}/3`]: 'usedat<24h|unknown',
      [`${GC}.cond.snapshot.${SN}/4`]: 'other<24h,usedat>1s|old-too',
      [`${GC}.cond.snapshot.${SN}/5`]: 'no condition',
    });
    await bench.layer(A, 'old-too', '', { [value]: inHours(-48) });
    await bench.image(A, 'image', digest('config'));
    await bench.collect();
    assert.deepEqual(await bench.keys(A), ['old-too', 'recent']);
  },

  async 'an ingest lives a day, or as long as its lease'(bench) {
    const { content, leases } = bench.services;
    await leases.create(A, { id: 'l' });
    await (await content.writer({ ...A, lease: 'l' }, { ref: 'leased' })).close();
    await (await content.writer(A, { ref: 'free' })).close();
    await bench.collect();
    assert.equal((await content.statuses(A)).length, 2);
    await leases.delete(A, 'l', { sync: true });
    assert.deepEqual(
      (await content.statuses(A)).map(({ ref }) => ref),
      ['free'],
    );
  },

  async 'labels that refer to nothing, to themselves or in circles end'(bench) {
    const labels = { [`${GC}.ref.content`]: digest('a'), [`${GC}.ref.content.2`]: 'nonsense' };
    await bench.blob(A, 'a', { ...labels, [`${GC}.ref.snapshot.x`]: 'y', [`${GC}.ref.snapshot.`]: '' });
    await bench.blob(A, 'b', { [`${GC}.ref.content`]: digest('c') });
    await bench.blob(A, 'c', { [`${GC}.ref.content`]: digest('b'), [`${GC}.ref.image`]: 'none' });
    await bench.image(A, 'image', digest('a'));
    await bench.collect();
    assert.deepEqual(await left(bench, 'a', 'b', 'c'), ['a']);
  },

  async 'references do not cross namespaces'(bench) {
    await bench.blob(A, 'x');
    await bench.blob(B, 'x');
    await bench.image(B, 'image', digest('x'));
    await bench.collect();
    assert.deepEqual(await bench.digests(A), []);
    assert.deepEqual(await bench.digests(B), [digest('x')]);
  },

  async 'what was collected can be made again at once'(bench) {
    for (let round = 0; round < 20; round += 1) {
      const collected = bench.collect();
      if (!bench.can.collectAtOnce) await collected;
      await bench.services.leases.create(A, { id: 'l' });
      const leased = { ...A, lease: 'l' };
      const [making, key] = [`making ${round}`, `key ${round}`];
      await madeOrFound(bench.blob(leased, 'text'));
      await bench.services.snapshots.prepare(leased, SN, making, '');
      await madeOrFound(bench.services.snapshots.commit(leased, SN, 'lower', making));
      await bench.services.snapshots.prepare(leased, SN, key, 'lower');
      await collected;
      const reader = await bench.services.content.reader(A, digest('text'));
      await reader.close();
      await bench.services.snapshots.mounts(A, SN, key);
      await bench.services.leases.delete(A, 'l');
    }
    await bench.collect();
    assert.deepEqual(await bench.digests(A), []);
    await rejects('NOT_FOUND', bench.services.snapshots.stat(A, SN, 'lower'));
  },

  async 'says how long it took and what it removed, where that can be said'(bench) {
    await blobs(bench, { one: {}, two: {} });
    await bench.layer(A, 'layer');
    const stats = await bench.services.collector.collect();
    assert.deepEqual([await bench.digests(A), await bench.keys(A)], [[], []]);
    if (!bench.can.measureCollections) return;
    assert.equal(stats.contentRemoved, 2);
    assert.equal(stats.snapshotsRemoved, 1);
    assert.ok(stats.duration >= stats.longestPause);
  },
};
