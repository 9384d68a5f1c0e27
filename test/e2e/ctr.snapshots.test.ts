import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { succeed } from '../harness/index.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld, view } from './world.js';

const { daemon, image, pulled } = await startWorld(['busybox']);

for (const snapshotter of SNAPSHOTTERS) {
  describe(`ctr snapshots on ${snapshotter}`, () => suite(snapshotter));
}

function suite(snapshotter: Snapshotter): void {
  let round = 0;
  let ctr = daemon.ctr('unused');
  beforeEach(() => {
    round += 1;
    ctr = daemon.ctr(`e2e-snapshots-${snapshotter}-${round}`);
  });
  const snapshots = (...args: readonly string[]): Promise<string> =>
    ctr.ok('snapshots', '--snapshotter', snapshotter, ...args);
  const refused = (...args: readonly string[]): Promise<string> =>
    ctr.fails('snapshots', '--snapshotter', snapshotter, ...args);

  interface Listed {
    readonly key: string;
    readonly parent: string;
    readonly kind: string;
  }

  async function list(): Promise<Listed[]> {
    const rows = await ctr.rows('snapshots', '--snapshotter', snapshotter, 'ls');
    return rows.map((row) => ({
      key: row[0] ?? '',
      parent: row.length === 3 ? (row[1] ?? '') : '',
      kind: row.at(-1) ?? '',
    }));
  }

  /** Mounts what a `mount ...` command line of ctr says, and unmounts it afterwards. */
  async function inside(key: string, use: (target: string) => Promise<void>): Promise<void> {
    const target = join(daemon.directory, `at-${snapshotter}-${key}`);
    await mkdir(target);
    await succeed('sh', ['-c', await snapshots('mounts', target, key)]);
    try {
      await use(target);
    } finally {
      await succeed('umount', [target]);
      await rm(target, { recursive: true });
    }
  }

  test('prepare, write, commit, view and rm, with ls, tree, info, usage and mounts telling the truth', async () => {
    await pulled(ctr.namespace, snapshotter, 'busybox');
    const [base] = await list();
    assert.ok(base);
    assert.deepEqual({ ...base, key: '' }, { key: '', parent: '', kind: 'Committed' });

    assert.equal(await snapshots('prepare', 'work', base.key), '');
    const before = await size('work');
    await inside('work', async (target) => {
      assert.match(await readFile(join(target, 'etc/passwd'), 'utf8'), /^alice:/m);
      await writeFile(join(target, 'added'), Buffer.alloc(1 << 20, 'x'));
      await rm(join(target, 'etc/group'));
    });
    const grown = await size('work');
    assert.ok(grown > before + (1 << 20) - (1 << 15) && grown < before + (2 << 20), `${before} grew to ${grown} bytes`);
    assert.match(await refused('prepare', 'work', base.key), /already exists/);

    await snapshots('commit', 'layer', 'work');
    assert.deepEqual(await list(), [{ key: 'layer', parent: base.key, kind: 'Committed' }, base]);
    const info = JSON.parse(await snapshots('info', 'layer'));
    assert.deepEqual([info.Kind, info.Name, info.Parent], ['Committed', 'layer', base.key]);
    assert.ok(Math.abs(Date.parse(info.Created) - Date.now()) < 120_000, info.Created);

    await view(ctr, snapshotter, 'look', 'layer');
    await inside('look', async (target) => {
      assert.equal((await readFile(join(target, 'added'))).length, 1 << 20);
      assert.ok(!(await readdir(join(target, 'etc'))).includes('group'), 'the deletion was committed');
      await assert.rejects(writeFile(join(target, 'more'), ''), { code: 'EROFS' });
    });
    const tree = (await snapshots('tree')).split('\n').map((line) => line.replace(/^ *(\\_ )?/, ''));
    assert.deepEqual(tree.filter(Boolean), [base.key, 'layer', 'look']);
    assert.deepEqual((await list()).map(({ kind }) => kind).sort(), ['Committed', 'Committed', 'View']);

    assert.match(await refused('rm', 'layer'), /cannot remove snapshot.*child.*: failed precondition/);
    assert.match(await refused('mounts', '/mnt', 'layer'), /failed precondition/);
    await snapshots('rm', 'look');
    await snapshots('rm', 'layer');
    assert.deepEqual(await list(), [base]);
    await ctr.ok('images', 'rm', '--sync', image.busybox);
    assert.deepEqual(await list(), []);
  });

  test('labels', async () => {
    await snapshots('prepare', 'labelled');
    await snapshots('label', 'labelled', 'containerd.io/gc.root=now', 'color=red');
    assert.deepEqual(JSON.parse(await snapshots('info', 'labelled')).Labels.color, 'red');
    await snapshots('label', 'labelled', 'color=');
    assert.equal(JSON.parse(await snapshots('info', 'labelled')).Labels.color, undefined);
    await snapshots('rm', 'labelled');
  });

  test('diff of two snapshots is a layer with the change and the deletion', async () => {
    await pulled(ctr.namespace, snapshotter, 'busybox');
    const [base] = await list();
    await snapshots('prepare', 'changed', base?.key ?? '');
    await inside('changed', async (target) => {
      await writeFile(join(target, 'etc/motd'), 'hello\n');
      await rm(join(target, 'etc/group'));
    });
    const { bytes, code, stderr } = await ctr.run(['snapshots', '--snapshotter', snapshotter, 'diff', 'changed']);
    assert.equal(code, 0, stderr);
    const file = join(daemon.directory, `diff-${snapshotter}.tar.gz`);
    await writeFile(file, bytes);
    const names = (await succeed('tar', ['--list', '--gzip', '--file', file])).split('\n').filter(Boolean);
    assert.deepEqual(names.sort(), ['etc/', 'etc/.wh.group', 'etc/motd']);
    await snapshots('rm', 'changed');
    await ctr.ok('images', 'rm', '--sync', image.busybox);
  });

  test('what does not exist is said so', async () => {
    await snapshots('prepare', 'something');
    assert.match(await refused('info', 'nothing'), /nothing.*not found/);
    assert.match(await refused('rm', 'nothing'), /nothing.*not found/);
    assert.match(await refused('prepare', 'child', 'nothing'), /nothing.*not found/);
    assert.match(await refused('commit', 'name', 'nothing'), /nothing.*not found/);
    await snapshots('rm', 'something');
    assert.deepEqual(await list(), []);
  });

  async function size(key: string): Promise<number> {
    const [, row = ''] = (await snapshots('usage', '-b', key)).split('\n');
    return Number(row.split(/\s+/)[1]);
  }
}
