/** Layers that are let go of once they are unpacked: images that run and that do not take their room twice, whoever pulls. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { DISCARD_UNPACKED } from '../../lib/discard-label.js';
import { type Ctr, eventually, run } from '../harness/index.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld } from './world.js';

const DIST = new URL('../../../bin/dist', import.meta.url).pathname;
const { daemon, host, image } = await startWorld(['layered'], { kind: 'keelsond' });

/** Those of the image, configuration and manifest left out. */
async function layersHere(ctr: Ctr): Promise<number> {
  // Unlike `content prune references`, which does the same by taking labels from manifests, this only collects.
  await ctr.ok('leases', 'create', '--id', 'collect');
  await ctr.ok('leases', 'delete', '--sync', 'collect');
  return (await ctr.ok('content', 'ls', '--quiet')).trim().split('\n').length - 2;
}

const gone = (ctr: Ctr): Promise<unknown> =>
  eventually('the layers are gone', async () => (await layersHere(ctr)) === 0 || undefined);

const dist = (ctr: Ctr, ...args: readonly string[]) =>
  run(DIST, ['--address', daemon.address, '--namespace', ctr.namespace, ...args]);

/** What it was told of what is missing, and what to do. */
async function refused(ctr: Ctr, ...args: readonly string[]): Promise<void> {
  const { code, stderr } = await dist(ctr, ...args);
  assert.notEqual(code, 0, args.join(' '));
  assert.match(
    stderr,
    /"sha256:[0-9a-f]{64}" belongs to the image, but is not here.*keelson\/discard-unpacked-layers/s,
  );
}

/** All of the image's snapshots, each on the one below. */
async function isUnpacked(ctr: Ctr, snapshotter: Snapshotter): Promise<void> {
  const rows = await ctr.rows('snapshots', '--snapshotter', snapshotter, 'ls');
  assert.equal(rows.filter((row) => row.at(-1) === 'Committed').length, 5);
}

for (const snapshotter of SNAPSHOTTERS) {
  describe(`unpacked on ${snapshotter}`, () => {
    test('by a client, layer by layer: by the label of the image, then by that of the namespace', async () => {
      const ctr = daemon.ctr(`discards-${snapshotter}`);
      const pull = ['images', 'pull', '--plain-http', '--snapshotter', snapshotter];
      await ctr.ok(...pull, '--label', `${DISCARD_UNPACKED}=true`, image.layered);
      await gone(ctr);
      assert.match(await ctr.ok('images', 'check', '--snapshotter', snapshotter), /incomplete \(1\/6\).* true/);
      await isUnpacked(ctr, snapshotter);
      const archive = join(daemon.directory, `${ctr.namespace}.tar`);
      assert.match(await ctr.fails('images', 'push', '--plain-http', `${host}/copy:1`, image.layered), /not found/);
      assert.match(await ctr.fails('images', 'export', archive, image.layered), /not found/);

      await ctr.ok(...pull, image.layered);
      assert.equal(await layersHere(ctr), 5, 'not asked for any more');
      assert.match(await ctr.ok('images', 'check', '--snapshotter', snapshotter), /complete \(6\/6\)/);
      await ctr.ok('namespaces', 'label', ctr.namespace, `${DISCARD_UNPACKED}=true`);
      await gone(ctr);
      await ctr.ok('images', 'rm', '--sync', image.layered);
      assert.equal(await ctr.ok('content', 'ls', '--quiet'), '');
    });

    test('by the daemon: neither pushed nor exported, and fetched again where they are needed', async () => {
      const ctr = daemon.ctr(`discards-pulled-${snapshotter}`);
      const pull = ['pull', '--plain-http', '--label', `${DISCARD_UNPACKED}=true`, '--snapshotter'];
      assert.equal((await dist(ctr, ...pull, snapshotter, image.layered)).code, 0);
      await gone(ctr);
      await isUnpacked(ctr, snapshotter);
      await refused(ctr, 'push', '--plain-http', `${host}/copy:1`, image.layered);
      await refused(ctr, 'export', join(daemon.directory, `${ctr.namespace}.tar`), image.layered);
      const [other = snapshotter] = SNAPSHOTTERS.filter((one) => one !== snapshotter);
      assert.equal((await dist(ctr, ...pull, other, image.layered)).code, 0);
      await isUnpacked(ctr, other);
      await ctr.ok('images', 'rm', '--sync', image.layered);
    });
  });
}
