/** Many callers at once. */
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../kernel/errors.js';
import type { Checks } from './snapshotter.js';

const CALLERS = 16;
const callers = Array.from({ length: CALLERS }, (_, index) => index);

/** Codes of the calls that failed; how many succeeded. */
async function outcomes(calls: readonly Promise<unknown>[]): Promise<{ succeeded: number; codes: string[] }> {
  const settled = await Promise.allSettled(calls);
  const failed = settled.filter((outcome) => outcome.status === 'rejected');
  return { succeeded: settled.length - failed.length, codes: [...new Set(failed.map(({ reason }) => codeOf(reason)))] };
}

export const raceChecks: Checks = {
  'lets one of many prepare a key': async (bench) => {
    await bench.layer('base', '');
    const make = (index: number): Promise<unknown> =>
      index % 2 === 0 ? bench.snapshotter.prepare('key', 'base') : bench.snapshotter.view('key', 'base');
    assert.deepEqual(await outcomes(callers.map(make)), { succeeded: 1, codes: ['ALREADY_EXISTS'] });
    await bench.snapshotter.cleanup();
    await bench.inside(await bench.snapshotter.mounts('key'), (root) => readdirSync(root));
    assert.deepEqual(await bench.names(), ['base', 'key']);
  },

  'lets all prepare keys of their own': async (bench) => {
    await bench.layer('base', '', (root) => writeFileSync(join(root, 'file'), ''));
    const mounts = await Promise.all(callers.map((index) => bench.snapshotter.prepare(`key ${index}`, 'base')));
    assert.equal(new Set(mounts.map((one) => JSON.stringify(one))).size, CALLERS);
    for (const [index, one] of mounts.entries()) {
      await bench.inside(one, (root) => writeFileSync(join(root, `${index}`), ''));
    }
    await Promise.all(callers.map((index) => bench.snapshotter.commit(`name ${index}`, `key ${index}`)));
    for (const index of callers) {
      const files = await bench.look(`name ${index}`, (root) => readdirSync(root).sort());
      assert.deepEqual(files, [`${index}`, 'file']);
    }
  },

  'lets one of many commit a name': async (bench) => {
    for (const index of callers) await bench.snapshotter.prepare(`key ${index}`, '');
    const commits = callers.map((index) => bench.snapshotter.commit('name', `key ${index}`));
    assert.deepEqual(await outcomes(commits), { succeeded: 1, codes: ['ALREADY_EXISTS'] });
    assert.equal((await bench.names()).length, CALLERS);
  },

  'lets one of many commit a key': async (bench) => {
    await bench.snapshotter.prepare('key', '');
    const commits = callers.map((index) => bench.snapshotter.commit(`name ${index}`, 'key'));
    assert.deepEqual(await outcomes(commits), { succeeded: 1, codes: ['NOT_FOUND'] });
    assert.equal((await bench.names()).length, 1);
  },

  'lets one of many remove': async (bench) => {
    await bench.snapshotter.prepare('key', '');
    const removals = callers.map(() => bench.snapshotter.remove('key'));
    assert.deepEqual(await outcomes(removals), { succeeded: 1, codes: ['NOT_FOUND'] });
  },

  'never leaves a child without its parent': async (bench) => {
    for (const index of callers) {
      await bench.layer('base', '');
      const [removal, preparation] = await Promise.allSettled([
        bench.snapshotter.remove('base'),
        bench.snapshotter.prepare('child', 'base'),
      ]);
      assert.notEqual(removal.status, preparation.status, `round ${index}: exactly one of the two`);
      if (preparation.status === 'fulfilled') {
        await bench.snapshotter.remove('child');
        await bench.snapshotter.remove('base');
      } else {
        assert.equal(codeOf(preparation.reason), 'NOT_FOUND');
      }
    }
    assert.deepEqual(await bench.names(), []);
  },

  'cleans up beside everything else': async (bench) => {
    await bench.layer('base', '', (root) => writeFileSync(join(root, 'file'), ''));
    await Promise.all(
      callers.flatMap((index) => [
        bench.snapshotter.cleanup(),
        bench.snapshotter.prepare(`kept ${index}`, 'base'),
        bench.snapshotter.prepare(`gone ${index}`, 'base').then(() => bench.snapshotter.remove(`gone ${index}`)),
        bench.snapshotter.cleanup(),
      ]),
    );
    await bench.snapshotter.cleanup();
    for (const index of callers) {
      const mounts = await bench.snapshotter.mounts(`kept ${index}`);
      assert.deepEqual(await bench.inside(mounts, (root) => readdirSync(root)), ['file']);
    }
  },
};
