import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { SNAPSHOTTERS, type Snapshotter, startWorld } from './world.js';

const { daemon, host, image } = await startWorld(['busybox', 'debian']);

for (const snapshotter of SNAPSHOTTERS) {
  describe(`ctr images on ${snapshotter}`, () => suite(snapshotter));
}

function suite(snapshotter: Snapshotter): void {
  const ctr = daemon.ctr(`e2e-images-${snapshotter}`);
  const pull = (reference: string): Promise<string> =>
    ctr.ok('images', 'pull', '--plain-http', '--snapshotter', snapshotter, reference);
  const snapshots = async (): Promise<string[]> =>
    (await ctr.rows('snapshots', '--snapshotter', snapshotter, 'ls')).map(([key = '']) => key);

  test('pull of a small image, then ls, check, tag and rm', async () => {
    assert.match(await pull(image.busybox), /unpacking linux\/\w+ sha256:[0-9a-f]{64}\.\.\.\ndone: /);
    const [row] = await ctr.rows('images', 'ls');
    assert.equal(row?.[0], image.busybox);
    assert.equal(row?.[1], 'application/vnd.oci.image.manifest.v1+json');
    assert.match(row?.[2] ?? '', /^sha256:[0-9a-f]{64}$/);
    assert.match(row?.slice(3).join(' ') ?? '', /^1\.1 MiB linux\/\w+ -$/);

    assert.match(
      await ctr.ok('images', 'check', '--snapshotter', snapshotter),
      /complete \(2\/2\) 1\.1 MiB\/1\.1 MiB +true/,
    );
    await ctr.ok('images', 'tag', image.busybox, 'example.com/copy:1');
    assert.match(await ctr.fails('images', 'tag', image.busybox, 'example.com/copy:1'), /already exists/);
    await ctr.ok('images', 'label', 'example.com/copy:1', 'kept=yes');
    assert.equal((await ctr.ok('images', 'ls', '--quiet', 'labels.kept==yes')).trim(), 'example.com/copy:1');

    await ctr.ok('images', 'rm', '--sync', image.busybox);
    assert.equal((await ctr.ok('images', 'ls', '--quiet')).trim(), 'example.com/copy:1');
    assert.equal((await snapshots()).length, 1, 'the copy holds the layer');
    await ctr.ok('images', 'rm', '--sync', 'example.com/copy:1');
    await isEmpty();
  });

  test('pull of a big image of five layers, twice: the second finds everything', async () => {
    await pull(image.debian);
    const keys = await snapshots();
    assert.equal(keys.length, 5);
    const [row] = await ctr.rows('images', 'ls');
    assert.ok(Number(row?.[3]) > 100, `only ${row?.[3]} MiB`);
    assert.match(await ctr.ok('images', 'check', '--snapshotter', snapshotter), /complete \(6\/6\)/);
    await pull(image.debian);
    assert.deepEqual(await snapshots(), keys);
    await ctr.ok('images', 'rm', '--sync', image.debian);
    await isEmpty();
  });

  test('mount shows the content of an image', async () => {
    await pull(image.busybox);
    const target = `${daemon.directory}/mnt-${snapshotter}`;
    execFileSync('mkdir', [target]);
    await ctr.ok('images', 'mount', '--snapshotter', snapshotter, image.busybox, target);
    try {
      assert.match(execFileSync('cat', [`${target}/etc/passwd`], { encoding: 'utf8' }), /^alice:/m);
      assert.throws(() => execFileSync('touch', [`${target}/new`], { stdio: 'ignore' }), 'read-only without --rw');
    } finally {
      await ctr.ok('images', 'unmount', '--rm', '--snapshotter', snapshotter, target);
    }
    await ctr.ok('images', 'rm', '--sync', image.busybox);
    await isEmpty();
  });

  test('pull of an image that is not there leaves nothing', async () => {
    const reference = `${host}/test/missing:latest`;
    const message = await ctr.fails('images', 'pull', '--plain-http', '--snapshotter', snapshotter, reference);
    assert.match(message, /not found/);
    await isEmpty();
  });

  async function isEmpty(): Promise<void> {
    assert.equal(await ctr.ok('images', 'ls', '--quiet'), '');
    assert.equal(await ctr.ok('content', 'ls', '--quiet'), '');
    assert.deepEqual(await ctr.rows('content', 'active'), []);
    assert.deepEqual(await snapshots(), []);
  }
}
