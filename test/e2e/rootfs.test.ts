/** An image pulled by `ctr` is, file by file, what umoci makes of the same layers. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type ImageName, imageLayout, succeed } from '../harness/index.js';
import { differencesFrom, umociTree } from '../harness/reference.js';
import { describeTree, type TreeEntry } from '../harness/tree.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld, view } from './world.js';

const IMAGES = ['busybox', 'node', 'debian'] as const satisfies readonly ImageName[];
const { daemon, own, pulled } = await startWorld(IMAGES);

for (const image of IMAGES) {
  describe(`rootfs of ${image}`, async () => {
    const expected = await umociTree(await imageLayout(image), join(daemon.directory, `umoci-${image}`));
    for (const snapshotter of SNAPSHOTTERS) {
      test(`on ${snapshotter} equals umoci's, file by file`, async () => {
        const actual = await rootfs(image, snapshotter);
        assert.ok(actual.length > 1);
        assert.deepEqual(differencesFrom(expected, actual, snapshotter === 'overlayfs'), []);
      });
    }
  });
}

/** Pulls the image into a namespace of its own and describes a view of its topmost layer. */
async function rootfs(image: ImageName, snapshotter: Snapshotter): Promise<TreeEntry[]> {
  const ctr = await pulled(own(`rootfs-${image}-${snapshotter}`), snapshotter, image);
  const snapshots = (...args: readonly string[]): Promise<string> =>
    ctr.ok('snapshots', '--snapshotter', snapshotter, ...args);
  const rows = await ctr.rows('snapshots', '--snapshotter', snapshotter, 'ls');
  const parents = new Set(rows.filter((row) => row.length === 3).map((row) => row[1]));
  const top = rows.find(([key]) => !parents.has(key));
  await view(ctr, snapshotter, 'look', top?.[0] ?? '');
  const target = join(daemon.directory, `view-${image}-${snapshotter}`);
  await mkdir(target);
  await succeed('sh', ['-c', await snapshots('mounts', target, 'look')]);
  try {
    return describeTree(target, { withoutRoot: true });
  } finally {
    await succeed('umount', [target]);
    await snapshots('rm', 'look');
  }
}
