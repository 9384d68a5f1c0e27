/** What users leave in a snapshot so that it cannot be removed: attack 85 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { mountAll, mountsWithin, unmountAll } from '../../lib/linux/mount.js';
import { succeed } from '../../test/harness/command.js';
import { scratch } from '../../test/harness/scratch.js';
import { openOverlay } from './overlay.js';

const DEPTH = 3000;

/** Deeper than any path may be long: made from where the last one ended. */
async function makeDeep(root: string): Promise<void> {
  const script = `i=0; while [ $i -lt ${DEPTH} ]; do mkdir d && cd -P d || exit 1; i=$((i+1)); done`;
  await succeed('busybox', ['sh', '-c', `cd "${root}" && ${script}`]);
}

it('removes a snapshot at once, and what resists in it when it no longer does, but nothing that is mounted there', async () => {
  await using place = await scratch('stubborn');
  const root = join(place.path, 'root');
  const outside = join(place.path, 'outside');
  for (const directory of [root, outside]) mkdirSync(directory);
  writeFileSync(join(outside, 'kept'), '');
  const warnings: string[] = [];
  const snapshotter = await openOverlay(root, { options: [], warn: (message) => warnings.push(message) });
  await using releases = new AsyncDisposableStack();
  releases.defer(() => snapshotter.close());

  const [mount] = await snapshotter.prepare('stubborn', '');
  const files = mount?.source ?? '';
  await makeDeep(files);
  const [fixed, mounted] = [join(files, 'fixed'), join(files, 'mounted')];
  writeFileSync(fixed, '');
  mkdirSync(mounted);
  await succeed('chattr', ['+i', fixed]);
  releases.defer(async () => {
    if (existsSync(fixed)) await succeed('chattr', ['-i', fixed]);
  });
  mountAll([{ type: 'bind', source: outside, target: '', options: ['rbind'] }], mounted);
  releases.defer(async () => void (await unmountAll(mounted)));

  await snapshotter.remove('stubborn');
  await snapshotter.cleanup();
  assert.match(warnings.join('\n'), /cannot be deleted yet/);
  assert.deepEqual(readdirSync(outside), ['kept']);
  await assert.rejects(snapshotter.stat('stubborn'), { code: 'NOT_FOUND' });
  await snapshotter.prepare('stubborn', '');

  assert.deepEqual(readdirSync(files).sort(), ['fixed', 'mounted'], 'all but what resists is gone');

  await unmountAll(mounted);
  await snapshotter.cleanup();
  assert.deepEqual(readdirSync(files), ['fixed']);
  await succeed('chattr', ['-i', fixed]);
  warnings.length = 0;
  await snapshotter.cleanup();
  assert.deepEqual([existsSync(files), warnings], [false, []]);
  assert.deepEqual(readdirSync(outside), ['kept']);
  assert.deepEqual(mountsWithin(root), []);
});
