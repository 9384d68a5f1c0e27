/** A kernel in this very process, without a socket, driven by contracts alone; a second one beside it. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Content } from '../../kernel/contracts/content.js';
import { Distribution } from '../../kernel/contracts/distribution.js';
import { Images } from '../../kernel/contracts/images.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { withMounts } from '../../lib/linux/mount.js';
import { imageLayout, type Registry, startRegistry, startTestKernel } from '../harness/index.js';

const PLUGINS = ['content', 'metadata', 'events', 'snapshot-overlay', 'diff', 'differs', 'distribution'];
const scope = { namespace: 'embedded' };

describe('embedded kernels', () => {
  let registry: Registry;
  let reference: string;

  before(async () => {
    registry = await startRegistry();
    reference = await registry.push(await imageLayout('busybox'), 'busybox');
  });
  after(() => registry[Symbol.asyncDispose]());

  it('pull an image and prepare a snapshot of it, two at once, each with a root of its own', async () => {
    await using first = await startTestKernel({ plugins: PLUGINS });
    await using second = await startTestKernel({ plugins: PLUGINS });
    const { images, unpacked } = await first.get(Distribution).pull(scope, reference, { unpack: [{}] });
    assert.deepEqual(
      images.map(({ name }) => name),
      [reference],
    );
    const [image] = images;
    assert.ok(image);
    assert.equal((await first.get(Content).info(scope, image.target.digest)).size, image.target.size);

    const [top] = unpacked;
    assert.equal(top?.snapshotter, 'overlayfs');
    const mounts = await first.get(Snapshots).prepare(scope, 'overlayfs', 'work', top?.chainId ?? '');
    const names = await withMounts(mounts, (root) => readdir(join(root, 'bin')));
    assert.ok(names.includes('busybox'));

    assert.deepEqual(await second.get(Images).list(scope), []);
    await assert.rejects(second.get(Content).info(scope, image.target.digest), { code: 'NOT_FOUND' });
  });

  it('open no socket', async () => {
    await using kernel = await startTestKernel({ plugins: PLUGINS });
    const bound = await readFile('/proc/net/unix', 'utf8');
    assert.ok(!bound.includes(kernel.directory));
  });
});
