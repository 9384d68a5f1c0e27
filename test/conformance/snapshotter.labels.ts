/** Labels and usage. */
import assert from 'node:assert/strict';
import { linkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Checks } from './snapshotter.js';
import { LABEL, rejects } from './snapshotter.workbench.js';

const A = `${LABEL}a`;
const B = `${LABEL}b`;
const MIB = 1024 * 1024;

export const labelChecks: Checks = {
  'takes labels when it prepares, views and commits': async (bench) => {
    await bench.snapshotter.prepare('key', '', { [A]: '1' });
    assert.deepEqual((await bench.snapshotter.stat('key')).labels, { [A]: '1' });
    await bench.snapshotter.commit('name', 'key', { labels: { [B]: '2' } });
    assert.deepEqual(
      (await bench.snapshotter.stat('name')).labels,
      { [B]: '2' },
      'labels of the key are not inherited',
    );
    await bench.snapshotter.view('view', 'name', { [A]: '3' });
    assert.deepEqual((await bench.snapshotter.stat('view')).labels, { [A]: '3' });
  },

  'replaces all labels without a mask, and with mask "labels"': async (bench) => {
    await bench.snapshotter.prepare('key', '', { [A]: '1' });
    const before = await bench.snapshotter.stat('key');
    // clocks of records may count in milliseconds
    await delay(2);
    const updated = await bench.snapshotter.update('key', { [B]: '2' });
    assert.deepEqual(updated.labels, { [B]: '2' });
    assert.ok(updated.updatedAt > before.updatedAt, 'the time of the update');
    assert.deepEqual({ ...updated, labels: 0, updatedAt: 0 }, { ...before, labels: 0, updatedAt: 0 });
    assert.deepEqual((await bench.snapshotter.update('key', { [A]: '3' }, ['labels'])).labels, { [A]: '3' });
    assert.deepEqual((await bench.snapshotter.update('key', {}, [])).labels, {});
    assert.deepEqual(await bench.snapshotter.stat('key'), (await bench.walked())[0]);
  },

  'changes single labels by mask, an empty value deleting': async (bench) => {
    await bench.layer('base', '');
    await bench.snapshotter.update('base', { [A]: '1', [B]: '2' });
    const one = await bench.snapshotter.update('base', { [A]: '3', [B]: 'ignored' }, [`labels.${A}`]);
    assert.deepEqual(one.labels, { [A]: '3', [B]: '2' });
    const none = await bench.snapshotter.update('base', { [B]: 'x' }, [`labels.${A}`]);
    assert.deepEqual(none.labels, { [B]: '2' });
  },

  'refuses masks of anything else, and unknown snapshots': async (bench) => {
    await bench.snapshotter.prepare('key', '', { [A]: '1' });
    for (const path of ['parent', 'kind', 'name', 'created_at', 'label']) {
      await rejects('INVALID_ARGUMENT', bench.snapshotter.update('key', {}, [`labels.${A}`, path]));
    }
    await rejects('NOT_FOUND', bench.snapshotter.update('nothing', {}));
    assert.deepEqual((await bench.snapshotter.stat('key')).labels, { [A]: '1' });
  },

  'measures an active snapshot now and a committed one once': async (bench) => {
    const mounts = await bench.snapshotter.prepare('key', '');
    const empty = await bench.snapshotter.usage('key');
    await bench.inside(mounts, (root) => writeFileSync(join(root, 'file'), Buffer.alloc(MIB, 1), { flush: true }));
    const full = await bench.snapshotter.usage('key');
    assert.ok(full.size - empty.size >= MIB, `${full.size} - ${empty.size}`);
    assert.ok(full.size - empty.size < 2 * MIB);
    await bench.snapshotter.commit('name', 'key');
    const committed = await bench.snapshotter.usage('name');
    assert.ok(committed.size >= MIB && committed.size < 2 * MIB);
    assert.deepEqual(await bench.snapshotter.usage('name'), committed);
    await rejects('NOT_FOUND', bench.snapshotter.usage('nothing'));
  },

  'counts a file with several names once': async (bench) => {
    const mounts = await bench.snapshotter.prepare('key', '');
    await bench.inside(mounts, (root) => {
      writeFileSync(join(root, 'file'), Buffer.alloc(MIB, 1), { flush: true });
      for (let index = 0; index < 10; index += 1) linkSync(join(root, 'file'), join(root, `name-${index}`));
    });
    const { size, inodes } = await bench.snapshotter.usage('key');
    assert.ok(size >= MIB && size < 2 * MIB, `${size}`);
    assert.ok(inodes >= 1 && inodes <= 3, `${inodes}`);
  },
};
