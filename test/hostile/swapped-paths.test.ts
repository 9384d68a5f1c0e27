/**
 * Directories that are swapped for links out of the tree, again and again, while layers are unpacked into them: attack 9 of
 * docs/reliability.md, with somebody else at it between any two calls. An unpacking may fail; nothing outside is touched.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { KeelsonError } from '../../kernel/errors.js';
import { bind, TestDiffer } from '../harness/unpack.js';
import { arena } from './sentinel.js';
import { archive, dir, file, hardlink, symlink } from './tar.js';

const ROUNDS = 20;
/** Fewer would show little; a slow machine gets more rounds for them, up to a point. */
const SWAPS = 200;
const MOST_ROUNDS = 50 * ROUNDS;
const ENTRIES = 400;
/** More than the unpacker keeps open: it has to find them again. */
const DIRECTORIES = 100;

/** Each directory is there, is a link, or is not there: whatever it was between two calls, it is another at the next. */
const SWAPPER = `
const { renameSync, symlinkSync, unlinkSync } = require('node:fs');
const { workerData: { root, count, victim, state } } = require('node:worker_threads');
const tried = (work) => { try { work(); return 1; } catch { return 0; } };
for (let n = 0; Atomics.load(state, 0) === 0; n++) {
  const path = root + '/d' + (n % count);
  const moved = tried(() => renameSync(path, root + '/away/' + n));
  Atomics.add(state, 1, moved && tried(() => symlinkSync(victim, path)));
  tried(() => unlinkSync(root + '/d' + ((n + count / 2) % count)));
}`;

/** Whatever might be done outside of the tree through a link that is a directory a moment before. */
const entries = (n: number): Buffer[] => {
  const at = `d${n % DIRECTORIES}`;
  return [
    file(`${at}/f${n}`, 'x', { mode: 0o4755, uid: 7 }),
    hardlink(`${at}/h${n}`, `${at}/f${n}`),
    symlink(`${at}/s${n}`, 'secret'),
    file(`${at}/secret`, 'overwritten', { mode: 0o777 }),
    file(`${at}/dir/planted`, 'planted'),
    file(`${at}/.wh.secret`, ''),
    dir(at, { mode: 0o777, mtime: 1 }),
  ];
};

it('nothing outside is touched while directories of the tree are swapped for links', async (test) => {
  await using place = await arena();
  await using differ = new TestDiffer();
  const { root, victim } = place;
  mkdirSync(join(root, 'away'));
  const layer = archive(...Array.from({ length: ENTRIES }, (_, n) => entries(n)).flat());
  const state = new Int32Array(new SharedArrayBuffer(8));
  const swapper = new Worker(SWAPPER, { eval: true, workerData: { root, count: DIRECTORIES, victim, state } });
  const swaps = (): number => Atomics.load(state, 1);
  let [rounds, whole] = [0, 0];
  try {
    for (; rounds < ROUNDS || (rounds < MOST_ROUNDS && swaps() < SWAPS); rounds++) {
      try {
        await differ.apply(layer, { mounts: [bind(root)] });
        whole += 1;
      } catch (error) {
        assert.ok(error instanceof KeelsonError, String(error));
      }
    }
  } finally {
    Atomics.store(state, 0, 1);
    await new Promise((resolve) => swapper.once('exit', resolve));
  }
  test.diagnostic(`${swaps()} swaps, ${whole} of ${rounds} layers unpacked whole`);
  assert.ok(swaps() >= SWAPS, `only ${swaps()} swaps`);
  assert.deepEqual(place.damage(), []);
});
