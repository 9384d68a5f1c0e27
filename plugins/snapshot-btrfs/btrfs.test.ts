import assert from 'node:assert/strict';
import { appendFileSync, linkSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { createSubvolume, isBtrfs, setReadOnly } from '../../lib/linux/btrfs.js';
import { succeed } from '../../test/harness/command.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { filesystemMissing, loopFilesystem } from '../../test/harness/loop.js';
import { openBtrfs } from './btrfs.js';
import { plugin } from './index.js';

const MIB = 1024 * 1024;

/** Runs `check` with a snapshotter on a new btrfs, which it can also change by its path. */
async function onBtrfs(
  context: TestContext,
  check: (snapshotter: Awaited<ReturnType<typeof openBtrfs>>, root: string) => Promise<void>,
): Promise<void> {
  const reason = await filesystemMissing('btrfs');
  if (reason !== undefined) {
    context.skip(reason);
    return;
  }
  await using directory = await loopFilesystem('btrfs');
  const snapshotter = await openBtrfs(directory.path, {
    warn: (message, error) => assert.fail(`${message}: ${error}`),
  });
  try {
    await check(snapshotter, directory.path);
  } finally {
    await snapshotter.close();
  }
}

const filesOf = ([mount]: readonly { readonly source: string }[]): string => mount?.source ?? '';

describe('btrfs', () => {
  it('shares what a snapshot has in common with its parent, and measures the rest', (context) =>
    onBtrfs(context, async (snapshotter) => {
      const base = filesOf(await snapshotter.prepare('key', ''));
      for (const name of ['one', 'two']) writeFileSync(join(base, name), Buffer.alloc(4 * MIB, name), { flush: true });
      linkSync(join(base, 'one'), join(base, 'also one'));
      await snapshotter.commit('base', 'key');
      assert.ok((await snapshotter.usage('base')).size >= 8 * MIB);

      const next = filesOf(await snapshotter.prepare('next', 'base'));
      assert.deepEqual(await snapshotter.usage('next'), { inodes: 0, size: 0 });
      mkdirSync(join(next, 'directory'));
      appendFileSync(join(next, 'two'), Buffer.alloc(MIB, 1), { flush: true });
      writeFileSync(join(next, 'directory/three'), Buffer.alloc(MIB, 2), { flush: true });
      const { inodes, size } = await snapshotter.usage('next');
      // "one" is the same; "two", the directory and "three" are not.
      assert.equal(inodes, 3);
      assert.equal(size, 6 * MIB);
    }));

  it('measures by quota group where quotas are on', (context) =>
    onBtrfs(context, async (snapshotter, root) => {
      await succeed('btrfs', ['quota', 'enable', root]);
      const base = filesOf(await snapshotter.prepare('key', ''));
      writeFileSync(join(base, 'file'), Buffer.alloc(8 * MIB, 1));
      await succeed('btrfs', ['filesystem', 'sync', root]);
      await snapshotter.commit('base', 'key');
      const next = filesOf(await snapshotter.prepare('next', 'base'));
      appendFileSync(join(next, 'file'), Buffer.alloc(MIB, 2));
      await succeed('btrfs', ['filesystem', 'sync', root]);
      const { size } = await snapshotter.usage('next');
      assert.ok(size >= MIB && size < 2 * MIB, `${size}: the megabyte that was added, not the eight that are shared`);
    }));

  it('makes what is committed read-only, also for who has it mounted', (context) =>
    onBtrfs(context, async (snapshotter) => {
      const files = filesOf(await snapshotter.prepare('key', ''));
      writeFileSync(join(files, 'file'), '');
      await snapshotter.commit('name', 'key');
      assert.throws(() => unlinkSync(join(files, 'file')), { code: 'EROFS' });
    }));

  it('removes subvolumes with subvolumes in them', (context) =>
    onBtrfs(context, async (snapshotter, root) => {
      const files = filesOf(await snapshotter.prepare('key', ''));
      await createSubvolume(files, 'inner');
      writeFileSync(join(files, 'inner/file'), '');
      await snapshotter.commit('name', 'key');
      await snapshotter.remove('name');
      await snapshotter.cleanup();
      assert.match(await succeed('btrfs', ['subvolume', 'list', root]), /^$/);
    }));

  it('refuses names that are no names', async () => {
    for (const name of ['', 'a/b', 'a\0b', 'x'.repeat(5000)]) {
      await assert.rejects(createSubvolume('/tmp', name), TypeError);
    }
    await assert.rejects(setReadOnly('/proc', true), { errno: 'ENOTTY' });
  });

  it('is skipped elsewhere', async () => {
    assert.equal(isBtrfs('/proc'), false);
    await using kernel = await startTestKernel({
      plugins: [plugin],
      settings: { 'snapshot-btrfs': { required: false, config: { root_path: '/dev/shm' } } },
    });
    const found = kernel.report.plugins().find(({ id }) => id === 'snapshot-btrfs');
    assert.deepEqual([found?.outcome, found?.reason], ['skip', '"/dev/shm" is not on btrfs']);
  });
});
