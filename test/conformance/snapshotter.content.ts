/** What is seen in a snapshot is what was done to it and its parents: compared with doing the same in a plain directory. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describeTree, treeDifferences } from '../harness/tree.js';
import { withFile } from './files.js';
import type { Checks } from './snapshotter.js';
import type { Change, Workbench } from './snapshotter.workbench.js';
import { zoo } from './zoo.js';

/** Times, as the two are changed one after the other, and the number of names, which overlayfs takes from its layers. */
const DIFFERING = ['mtime', 'nlink'] as const;

/**
 * Makes a chain of layers by the changes, and after each compares the new layer with a plain
 * directory to which the same was done.
 */
export async function compareWithPlain(bench: Workbench, ...changes: readonly Change[]): Promise<void> {
  const plain = join(bench.work, 'plain');
  await mkdir(plain, { mode: 0o755 });
  chmodSync(plain, 0o755);
  let parent = '';
  for (const [index, change] of changes.entries()) {
    const name = `layer ${index}`;
    await bench.layer(name, parent, change);
    await change(plain);
    const seen = await bench.look(name, (root) => describeTree(root));
    assert.deepEqual(treeDifferences(seen, describeTree(plain), DIFFERING), [], `after change ${index}`);
    parent = name;
  }
}

const write =
  (path: string, text: string, mode = 0o644): Change =>
  (root) => {
    writeFileSync(join(root, path), text);
    chmodSync(join(root, path), mode);
  };

const all =
  (...changes: readonly Change[]): Change =>
  async (root) => {
    for (const change of changes) await change(root);
  };

const directory =
  (path: string, mode = 0o755): Change =>
  (root) => {
    mkdirSync(join(root, path));
    chmodSync(join(root, path), mode);
  };

const remove =
  (path: string): Change =>
  (root) =>
    rmSync(join(root, path), { recursive: true });

const LAYERS = 128;

export const contentChecks: Checks = {
  'adds, changes and deletes': (bench) =>
    compareWithPlain(
      bench,
      all(write('foo', 'foo\n', 0o777), directory('a'), directory('a/b'), directory('a/b/c')),
      all(write('bar', 'bar\n'), write('foo', 'bar\n', 0o777), remove('a/b')),
      all(remove('foo'), write('a/new', 'new')),
      () => undefined,
    ),

  'keeps kinds, modes, owners, devices, links and attributes': (bench) =>
    compareWithPlain(
      bench,
      zoo,
      write('new', 'file'),
      all(remove('sticky'), remove('null')),
      write('attributes', 'new text'),
    ),

  'keeps times, to the nanosecond where the snapshotter says so': async (bench, can) => {
    await bench.layer('base', '', (root) => {
      mkdirSync(join(root, 'directory'));
      writeFileSync(join(root, 'directory/file'), '');
      for (const name of ['directory/file', 'directory']) {
        withFile(join(root, name), (file) => file.setTimes({ seconds: 1_234_567_890, nanos: 123_456_789 }));
      }
    });
    await bench.layer('next', 'base', write('other', ''));
    await bench.look('next', (root) => {
      for (const name of ['directory', 'directory/file']) {
        const { mtimeNs } = statSync(join(root, name), { bigint: true });
        assert.equal(mtimeNs, can.exactTimes ? 1_234_567_890_123_456_789n : 1_234_567_890_000_000_000n, name);
      }
    });
  },

  'keeps holes': async (bench) => {
    const size = 64 * 1024 * 1024;
    await bench.layer('base', '', (root) => {
      writeFileSync(join(root, 'file'), 'start');
      truncateSync(join(root, 'file'), size);
    });
    await bench.layer('next', 'base');
    await bench.look('next', (root) => {
      const stats = statSync(join(root, 'file'));
      assert.equal(stats.size, size);
      assert.ok(stats.blocks * 512 < 1024 * 1024, `${stats.blocks} blocks`);
      assert.equal(readFileSync(join(root, 'file')).subarray(0, 6).toString('latin1'), 'start\0');
    });
  },

  'deletes and makes again, as another kind': (bench) =>
    compareWithPlain(
      bench,
      all(write('file', '1'), directory('directory'), write('directory/inside', '2'), write('same', '3')),
      all(remove('file'), remove('directory'), remove('same')),
      all(directory('file'), write('directory', 'a file now'), write('same', 'again')),
      all(remove('file'), write('file', 'a file again'), remove('directory'), directory('directory')),
      write('directory/other', 'only this one is inside'),
    ),

  'deletes and makes again within one layer': (bench) =>
    compareWithPlain(
      bench,
      all(directory('directory'), write('directory/old', '1'), write('file', '1')),
      all(remove('directory'), directory('directory', 0o700), write('directory/new', '2')),
      all(remove('file'), (root) => symlinkSync('directory', join(root, 'file'))),
    ),

  'copies up for chmod, chown, truncation and times': (bench) =>
    compareWithPlain(
      bench,
      all(
        ...['mode', 'owner', 'size', 'time'].map((name) => write(name, 'some text')),
        directory('directory'),
        write('directory/file', 'text'),
      ),
      (root) => {
        chmodSync(join(root, 'mode'), 0o4711);
        chownSync(join(root, 'owner'), 5, 6);
        truncateSync(join(root, 'size'), 4);
        utimesSync(join(root, 'time'), 1, 2);
        chownSync(join(root, 'directory'), 5, 6);
        chmodSync(join(root, 'directory'), 0o2770);
      },
    ),

  'links to files of a parent': (bench) =>
    compareWithPlain(bench, all(directory('directory'), write('directory/file', 'text')), (root) =>
      linkSync(join(root, 'directory/file'), join(root, 'second')),
    ),

  'writes to a file of a parent with two names': async (bench, can) => {
    await bench.layer('base', '', (root) => {
      writeFileSync(join(root, 'first'), 'old');
      linkSync(join(root, 'first'), join(root, 'second'));
    });
    await bench.layer('next', 'base', (root) => writeFileSync(join(root, 'first'), 'new'));
    await bench.look('next', (root) => {
      assert.equal(readFileSync(join(root, 'first'), 'utf8'), 'new');
      const second = can.writeThroughParentsHardlinks ? 'new' : 'old';
      assert.equal(readFileSync(join(root, 'second'), 'utf8'), second);
    });
    await bench.look('base', (root) => assert.equal(readFileSync(join(root, 'second'), 'utf8'), 'old'));
  },

  'renames files of a parent': (bench) =>
    compareWithPlain(
      bench,
      all(directory('one'), directory('two'), write('one/file', 'text'), write('one/other', 'more'), write('top', 't')),
      (root) => {
        renameSync(join(root, 'one/file'), join(root, 'two/file'));
        renameSync(join(root, 'one/other'), join(root, 'one/renamed'));
        renameSync(join(root, 'top'), join(root, 'two/file'));
      },
    ),

  'renames directories of a parent, or says that it cannot': async (bench, can) => {
    await bench.layer('base', '', all(directory('one'), write('one/file', 'text')));
    const mounts = await bench.snapshotter.prepare('key', 'base');
    await bench.inside(mounts, (root) => {
      const rename = (): void => renameSync(join(root, 'one'), join(root, 'two'));
      if (can.renameParentsDirectory) rename();
      else assert.throws(rename, { code: 'EXDEV' });
      assert.equal(existsSync(join(root, 'two/file')), can.renameParentsDirectory);
      assert.equal(existsSync(join(root, 'one/file')), !can.renameParentsDirectory);
    });
  },

  'gives the root directory the mode and owner it has in the parent': async (bench) => {
    await bench.layer('base', '', (root) => {
      chownSync(root, 10, 20);
      chmodSync(root, 0o1750);
    });
    await bench.layer('next', 'base', write('file', ''));
    for (const name of ['base', 'next']) {
      await bench.look(name, (root) => {
        const { mode, uid, gid } = statSync(root);
        assert.deepEqual([mode & 0o7777, uid, gid], [0o1750, 10, 20], name);
      });
    }
  },

  'leaves parents as they are': async (bench) => {
    await bench.layer('base', '', zoo);
    const before = await bench.look('base', (root) => describeTree(root));
    await bench.layer('next', 'base', (root) => {
      writeFileSync(join(root, 'setuid'), 'changed');
      rmSync(join(root, 'sticky'), { recursive: true });
      chmodSync(join(root, 'null'), 0);
      rmdirSync(join(root, 'with attributes'));
    });
    assert.deepEqual(await bench.look('base', (root) => describeTree(root)), before);
  },

  'keeps siblings apart': async (bench) => {
    await bench.layer('base', '', write('file', 'base'));
    await bench.layer('one', 'base', write('file', 'one'));
    await bench.layer('two', 'base', remove('file'));
    await bench.look('base', (root) => assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'base'));
    await bench.look('one', (root) => assert.equal(readFileSync(join(root, 'file'), 'utf8'), 'one'));
    await bench.look('two', (root) => assert.throws(() => lstatSync(join(root, 'file')), { code: 'ENOENT' }));
  },

  [`mounts ${LAYERS} layers`]: async (bench) => {
    let parent = '';
    for (let index = 0; index < LAYERS; index += 1) {
      const name = `layer ${index}`;
      await bench.layer(name, parent, (root) => {
        writeFileSync(join(root, 'top'), String(index));
        writeFileSync(join(root, `file-${index}`), '');
      });
      parent = name;
    }
    const check = (root: string): void => {
      assert.equal(readFileSync(join(root, 'top'), 'utf8'), String(LAYERS - 1));
      assert.ok(existsSync(join(root, 'file-0')));
    };
    await bench.look(parent, check);
    await bench.inside(await bench.snapshotter.prepare('active', parent), check);
  },
};
