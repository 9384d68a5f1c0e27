import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eventually } from '../harness/index.js';
import { ingest, startWorld } from './world.js';

const { daemon, image, pulled } = await startWorld(['busybox']);
const sha256 = (data: string | Uint8Array): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

describe('ctr content', () => {
  const ctr = daemon.ctr('e2e-content');

  // First, while nothing was removed yet: no collection comes between the ingest and the look at it.
  test('active shows an ingest in progress, which survives its client and is resumed', async () => {
    const data = randomBytes(2_000_000);
    const first = ctr.start('content', 'ingest', '--expected-size', '2000000', 'slow');
    first.write(data.subarray(0, 1_200_000));
    const size = async (): Promise<string | undefined> =>
      (await ctr.rows('content', 'active')).find(([ref]) => ref === 'slow')?.[1];
    await eventually('bytes arrive', async () => (['0B', undefined].includes(await size()) ? undefined : true));
    await first.stop('SIGKILL');
    assert.notEqual(await size(), undefined, 'the ingest stays');
    const inputFile = join(daemon.directory, 'resumed');
    await writeFile(inputFile, data);
    await eventually('the lock of the dead client is released', async () => {
      const { code } = await ctr.run(['content', 'ingest', '--expected-size', '2000000', 'slow'], { inputFile });
      return code === 0 ? true : undefined;
    });
    assert.deepEqual((await ctr.run(['content', 'get', sha256(data)])).bytes, data);
    assert.equal(await size(), undefined);
    await ctr.ok('content', 'rm', sha256(data));
  });

  test('ingest, ls, get and rm', async () => {
    const data = randomBytes(3_000_001);
    const digest = await ingest(ctr, 'one', data);
    const row = (await ctr.rows('content', 'ls')).find(([found]) => found === digest);
    assert.equal(row?.[1], '3MB');
    assert.deepEqual((await ctr.run(['content', 'get', digest])).bytes, data);
    assert.equal((await ctr.ok('content', 'rm', digest)).trim(), digest);
    assert.match(await ctr.fails('content', 'get', digest), /not found/);
    assert.equal(await ctr.ok('content', 'ls', '--quiet'), '');
  });

  test('an empty blob', async () => {
    const digest = await ingest(ctr, 'empty', '');
    assert.equal((await ctr.run(['content', 'get', digest])).bytes.length, 0);
    await ctr.ok('content', 'rm', digest);
  });

  test('content with another digest than promised is refused', async () => {
    const promised = sha256('something else');
    const { code, stderr } = await ctr.run(['content', 'ingest', '--expected-digest', promised, 'wrong'], {
      input: 'something',
    });
    assert.equal(code, 1);
    assert.match(stderr, /unexpected commit digest|failed precondition/);
    assert.equal(await ctr.ok('content', 'ls', '--quiet'), '');
  });

  test('labels are set, shown and removed', async () => {
    const digest = await ingest(ctr, 'labelled', 'labelled');
    const labels = async (): Promise<string | undefined> =>
      (await ctr.ok('content', 'ls'))
        .split('\n')
        .find((line) => line.startsWith(digest))
        ?.split('\t')
        .at(-1);
    await ctr.ok('content', 'label', digest, 'a=1', 'b=2');
    assert.deepEqual((await labels())?.split(',').sort(), ['a=1', 'b=2', 'containerd.io/gc.root=test']);
    await ctr.ok('content', 'label', digest, 'a=');
    assert.deepEqual((await labels())?.split(',').sort(), ['b=2', 'containerd.io/gc.root=test']);
    assert.match(await ctr.ok('content', 'ls', '--quiet', 'labels.b==2'), new RegExp(digest));
    assert.equal(await ctr.ok('content', 'ls', '--quiet', 'labels.b==3'), '');
    await ctr.ok('content', 'rm', digest);
  });

  test('what was pulled is listed with what it refers to, and is what the registry serves', async () => {
    const images = await pulled('e2e-content-pull', 'overlayfs', 'busybox');
    const lines = (await images.ok('content', 'ls')).split('\n');
    const manifest = lines.find((line) => line.includes('containerd.io/gc.ref.content.config=')) ?? '';
    assert.match(manifest, /containerd\.io\/gc\.ref\.content\.l\.0=sha256:/);
    assert.match(manifest, /containerd\.io\/distribution\.source\.127\.0\.0\.1(:\d+)?=test\/busybox/);
    assert.ok(lines.some((line) => line.includes('containerd.io/uncompressed=sha256:')));
    assert.ok(lines.some((line) => line.includes('containerd.io/gc.ref.snapshot.overlayfs=sha256:')));
    for (const digest of (await images.ok('content', 'ls', '--quiet')).trim().split('\n')) {
      assert.equal(sha256((await images.run(['content', 'get', digest])).bytes), digest);
    }
    await images.ok('images', 'rm', '--sync', image.busybox);
    assert.equal(await images.ok('content', 'ls', '--quiet'), '');
  });

  test('content of one namespace is not seen in another', async () => {
    await ingest(ctr, 'mine', 'mine');
    const other = daemon.ctr('e2e-content-other');
    assert.match(await other.fails('content', 'get', sha256('mine')), /not found/);
    assert.equal(await other.ok('content', 'ls', '--quiet'), '');
    await ctr.ok('content', 'rm', sha256('mine'));
  });
});
