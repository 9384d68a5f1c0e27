import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Snapshotters } from '../../kernel/contracts/snapshots.js';
import { mountAll, unmountAll, withMounts } from '../../lib/linux/mount.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { OverlayStorage, openOverlay } from './overlay.js';
import { clearFormer, probe } from './probe.js';
import { RememberedProbe } from './remembered.js';

type Overlay = Awaited<ReturnType<typeof openOverlay>>;

async function withOverlay(work: (snapshotter: Overlay, root: string) => Promise<void>, name = 'root'): Promise<void> {
  await using directory = await scratch('overlay');
  const root = join(directory.path, name);
  mkdirSync(root);
  const warn = (message: string, error: unknown): void => assert.fail(`${message}: ${error}`);
  const snapshotter = await openOverlay(root, { options: ['index=off'], warn });
  try {
    await work(snapshotter, root);
  } finally {
    await snapshotter.close();
  }
}

/** Commits one layer after the other; their directories, topmost first. */
async function chain(snapshotter: Overlay, root: string, length: number): Promise<string[]> {
  for (let index = 1; index <= length; index += 1) {
    await snapshotter.prepare(`key ${index}`, index === 1 ? '' : `layer ${index - 1}`);
    await snapshotter.commit(`layer ${index}`, `key ${index}`);
  }
  return Array.from({ length }, (_, index) => join(root, 'snapshots', String(length - index), 'fs'));
}

describe('overlay snapshotter', () => {
  it("gives containerd's mounts", () =>
    withOverlay(async (snapshotter, root) => {
      const [top = '', bottom = ''] = await chain(snapshotter, root, 2);
      const bind = (source: string, access: string) => [
        { type: 'bind', source, target: '', options: [access, 'rbind'] },
      ];
      const overlay = (...options: string[]) => [
        { type: 'overlay', source: 'overlay', target: '', options: [...options, 'index=off'] },
      ];
      const id = (number: number, name: string): string => join(root, 'snapshots', String(number), name);
      assert.deepEqual(await snapshotter.prepare('base', ''), bind(id(3, 'fs'), 'rw'));
      assert.deepEqual(await snapshotter.view('empty', ''), bind(id(4, 'fs'), 'ro'));
      assert.deepEqual(await snapshotter.view('one', 'layer 1'), bind(bottom, 'ro'));
      assert.deepEqual(await snapshotter.view('two', 'layer 2'), overlay(`lowerdir=${top}:${bottom}`));
      assert.deepEqual(
        await snapshotter.prepare('active', 'layer 2'),
        overlay(`workdir=${id(7, 'work')}`, `upperdir=${id(7, 'fs')}`, `lowerdir=${top}:${bottom}`),
      );
    }));

  it('mounts below a root directory with separators in its name', () =>
    withOverlay(async (snapshotter, root) => {
      await chain(snapshotter, root, 3);
      const mounts = await snapshotter.prepare('key', 'layer 3');
      await withMounts(mounts, (path) => writeFileSync(join(path, 'file'), ''), { directory: join(root, '..') });
      assert.equal((await snapshotter.usage('key')).inodes, 2);
    }, 'a,b:c\\d e'));

  it('lets nobody but root reach the files', () =>
    withOverlay(async (snapshotter, root) => {
      await snapshotter.prepare('key', '');
      assert.equal(statSync(join(root, 'snapshots')).mode & 0o777, 0o700);
      assert.equal(statSync(join(root, 'snapshots/1')).mode & 0o777, 0o700);
    }));

  it("takes its parent's mode and owner for the root directory, whatever the umask", () =>
    withOverlay(async (snapshotter, root) => {
      const former = process.umask(0o077);
      try {
        const [base = ''] = await chain(snapshotter, root, 1);
        assert.equal(statSync(base).mode & 0o7777, 0o755);
        chownSync(base, 3, 4);
        chmodSync(base, 0o3775);
        await snapshotter.prepare('key', 'layer 1');
      } finally {
        process.umask(former);
      }
      const { mode, uid, gid } = statSync(join(root, 'snapshots/2/fs'));
      assert.deepEqual([mode & 0o7777, uid, gid], [0o3775, 3, 4]);
    }));

  it('says what to do when files of a parent are gone', () =>
    withOverlay(async (snapshotter, root) => {
      const [base = ''] = await chain(snapshotter, root, 1);
      rmSync(base, { recursive: true });
      await assert.rejects(snapshotter.prepare('key', 'layer 1'), {
        code: 'DATA_LOSS',
        message: /pull the image again/,
      });
      assert.deepEqual(readdirSync(join(root, 'snapshots')), ['1']);
    }));

  it('makes again what a power cut took or left half made, and leaves alone what has files', async () => {
    await using directory = await scratch('overlay');
    const told: string[] = [];
    const open = (): Promise<Overlay> =>
      openOverlay(directory.path, { options: ['index=off'], warn: (message) => told.push(message) });
    const first = await open();
    await chain(first, directory.path, 2);
    for (const key of ['damaged', 'half', 'gone']) await first.prepare(key, 'layer 2');
    await first.close();
    const at = (...names: readonly string[]): string => join(directory.path, 'snapshots', ...names);
    writeFileSync(at('3', 'fs', 'kept'), '');
    rmSync(at('3', 'work'), { recursive: true });
    rmSync(at('4', 'fs'), { recursive: true });
    rmSync(at('5'), { recursive: true });
    const second = await open();
    assert.equal(told.join('\n').match(/"(half|gone)" is as new again/g)?.length, 2);
    assert.deepEqual(readdirSync(at('3', 'fs')), ['kept']);
    for (const key of ['half', 'gone'])
      await withMounts(await second.mounts(key), (path) => writeFileSync(join(path, 'file'), ''), {
        directory: directory.path,
      });
    await second.close();
  });

  it('lets configured options win over probed ones', () => {
    assert.deepEqual(OverlayStorage.combine(['index=on', 'volatile'], ['userxattr', 'index=off']), [
      'index=on',
      'volatile',
      'userxattr',
    ]);
  });
});

describe('overlay probe', () => {
  it('leaves nothing, and clears what a former one left', async () => {
    await using directory = await scratch('probe');
    const old = join(directory.path, 'probe-old/merged');
    mkdirSync(old, { recursive: true });
    mountAll([{ type: 'tmpfs', source: 'tmpfs', target: '', options: [] }], old);
    await clearFormer(directory.path);
    assert.deepEqual(readdirSync(directory.path), []);
    const outcome = await probe(directory.path);
    assert.ok(outcome.works);
    assert.deepEqual(outcome.options, ['index=off']);
    await outcome.cleared;
    assert.deepEqual(readdirSync(directory.path), []);
  });

  it('is remembered until the next boot, for one directory of one filesystem', async () => {
    await using directory = await scratch('probe');
    await using other = await scratch('probe');
    const remembered = () => new RememberedProbe(directory.path, directory.path);
    assert.equal(remembered().options, undefined);
    remembered().keep(['userxattr', 'index=off']);
    assert.deepEqual(remembered().options, ['userxattr', 'index=off']);
    assert.equal(new RememberedProbe(directory.path, other.path).options, undefined);
    process.env.KEELSON_TEST_BOOT_ID = 'another';
    try {
      assert.equal(remembered().options, undefined);
      remembered().keep([]);
      assert.deepEqual(remembered().options, []);
    } finally {
      delete process.env.KEELSON_TEST_BOOT_ID;
    }
  });

  it('is made by the first start, and not by the next', async () => {
    await using directory = await scratch('probe');
    const start = () => startTestKernel({ plugins: ['snapshot-overlay'], directory: directory.path });
    const state = join(directory.path, 'state/io.containerd.snapshotter.v1.overlayfs');
    const root = join(directory.path, 'root/io.containerd.snapshotter.v1.overlayfs');
    await (await start())[Symbol.asyncDispose]();
    const remembered = new RememberedProbe(state, root);
    assert.deepEqual(remembered.options, ['index=off']);
    remembered.keep(['index=off', 'xino=off']);
    await using kernel = await start();
    const snapshotter = kernel.get(Snapshotters).get('overlayfs');
    assert.ok(snapshotter);
    await snapshotter.prepare('a', '');
    await snapshotter.commit('layer', 'a');
    const [mount] = await snapshotter.prepare('b', 'layer');
    assert.ok(mount?.options.includes('xino=off'), JSON.stringify(mount));
  });

  it('says why overlays do not work on an overlay', async () => {
    await using directory = await scratch('probe');
    const [lower = '', upper = '', work = '', merged = ''] = ['lower', 'upper', 'work', 'merged'].map((name) => {
      const path = join(directory.path, name);
      mkdirSync(path);
      return path;
    });
    const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`];
    mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], merged);
    try {
      const outcome = await probe(merged);
      assert.ok(!outcome.works);
      await outcome.cleared;
      assert.match(outcome.reason, /overlays do not work on the filesystem of/);
      assert.deepEqual(readdirSync(merged), []);
    } finally {
      await unmountAll(merged);
    }
  });

  it('skips the plugin, and tells introspection where the snapshots are otherwise', async () => {
    await using directory = await scratch('probe');
    await using kernel = await startTestKernel({
      plugins: ['snapshot-overlay'],
      config: { 'snapshot-overlay': { root_path: directory.path } },
    });
    const status = kernel.report.plugins().find(({ id }) => id === 'snapshot-overlay');
    assert.deepEqual(
      [status?.outcome, status?.capabilities, status?.exports],
      ['ok', ['rebase'], { root: directory.path }],
    );
    assert.ok(kernel.get(Snapshotters).has('overlayfs'));
  });
});
