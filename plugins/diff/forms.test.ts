/** One meaning of a stack of layers, whatever the form it is unpacked in. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { KeelsonError } from '../../kernel/errors.js';
import { withMounts } from '../../lib/linux/mount.js';
import { scratch } from '../../test/harness/scratch.js';
import { brief, describeTree, type TreeEntry, treeDifferences } from '../../test/harness/tree.js';
import { bind, FORMS, type Form, TestDiffer, unpackStack } from '../../test/harness/unpack.js';
import { archive, device, dir, file, hardlink, opaque, symlink, whiteout } from '../../test/hostile/tar.js';

const differ = new TestDiffer();
after(() => differ[Symbol.asyncDispose]());

const base = archive(
  dir('etc/', { mode: 0o751, uid: 5, gid: 6, mtime: 1000 }, [['SCHILY.xattr.user.kept', 'yes']]),
  file('etc/a', '1'),
  file('etc/b', '22', { mode: 0o4755, uid: 7, gid: 8 }, [['SCHILY.xattr.user.b', 'b']]),
  dir('etc/sub/', { mtime: 2000 }),
  file('etc/sub/x', '333'),
  file('etc/sub/y', '4444'),
  dir('run/', { mtime: 3000 }),
  dir('var/', { mtime: 4000 }),
  symlink('var/run', '/run', { mtime: 5000 }),
  symlink('var/rel', '../etc/sub'),
  file('plain', '55555'),
);

const BASE = ['etc/', 'etc/a 1', 'etc/b 2', 'etc/sub/', 'etc/sub/x 3', 'etc/sub/y 4', 'plain 5', 'run/', 'var/'];
const LINKS = ['var/rel -> ../etc/sub', 'var/run -> /run'];
const ALL = [...BASE, ...LINKS];
const without = (...gone: string[]): string[] =>
  ALL.filter(
    (line) => !gone.some((name) => line === `${name}/` || line.startsWith(`${name}/`) || line.startsWith(`${name} `)),
  );

interface Case {
  readonly name: string;
  readonly layers: readonly Buffer[];
  readonly expected: readonly string[];
  /** Default: all. */
  readonly forms?: readonly Form[];
}

const CASES: readonly Case[] = [
  { name: 'a file deleted', layers: [archive(dir('etc/'), whiteout('etc/a'))], expected: without('etc/a') },
  { name: 'a directory deleted', layers: [archive(whiteout('etc'))], expected: without('etc') },
  { name: 'deletion of what is not there', layers: [archive(whiteout('nothing'), whiteout('etc/no'))], expected: ALL },
  {
    name: 'deletion in a directory that is not there',
    layers: [archive(dir('new/'), whiteout('new/x'))],
    expected: [...ALL, 'new/'],
    // A detached layer cannot know that nothing is to be deleted; see README.md.
    forms: ['plain', 'overlay'],
  },
  {
    name: 'a link deleted, not what it points to',
    layers: [archive(whiteout('var/run'))],
    expected: without('var/run'),
  },
  {
    name: 'deletion through a link',
    layers: [archive(whiteout('var/rel/x'))],
    expected: without('etc/sub/x'),
  },
  {
    name: 'deleted, then made anew',
    layers: [archive(whiteout('etc'), dir('etc/'), file('etc/new', 'x'))],
    expected: [...without('etc'), 'etc/', 'etc/new 1'],
  },
  {
    name: 'made anew, then deleted: only lower entries go',
    layers: [archive(dir('etc/'), file('etc/new', 'x'), whiteout('etc'))],
    expected: [...without('etc'), 'etc/', 'etc/new 1'],
  },
  {
    name: 'implied anew, then deleted',
    layers: [archive(file('etc/sub/new', 'x'), whiteout('etc/sub'))],
    expected: [...without('etc/sub'), 'etc/sub/', 'etc/sub/new 1'],
  },
  {
    name: 'deleted, then implied',
    layers: [archive(whiteout('etc/sub'), file('etc/sub/new', 'x'))],
    expected: [...without('etc/sub'), 'etc/sub/', 'etc/sub/new 1'],
  },
  {
    name: 'opaque before its entries',
    layers: [archive(dir('etc/'), opaque('etc'), file('etc/new', 'x'), dir('etc/sub/'))],
    expected: [...without('etc'), 'etc/', 'etc/new 1', 'etc/sub/'],
  },
  {
    name: 'opaque behind its entries',
    layers: [archive(dir('etc/'), file('etc/new', 'x'), file('etc/sub/deep/f', 'y'), opaque('etc'))],
    expected: [...without('etc'), 'etc/', 'etc/new 1', 'etc/sub/', 'etc/sub/deep/', 'etc/sub/deep/f 1'],
  },
  {
    name: 'opaque with deletions inside it, on both sides',
    layers: [archive(dir('etc/'), whiteout('etc/a'), opaque('etc'), whiteout('etc/b'), file('etc/new', 'x'))],
    expected: [...without('etc'), 'etc/', 'etc/new 1'],
  },
  {
    name: 'opaque root',
    layers: [archive(file('early', '1'), whiteout('plain'), file('.wh..wh..opq'), file('etc/new', 'x'))],
    expected: ['early 1', 'etc/', 'etc/new 1'],
  },
  { name: 'file over directory', layers: [archive(file('etc', 'x'))], expected: [...without('etc'), 'etc 1'] },
  {
    name: 'file over directory, in the next layer a directory again',
    layers: [archive(file('etc', 'x')), archive(dir('etc/'), file('etc/z', 'zz'))],
    expected: [...without('etc'), 'etc/', 'etc/z 2'],
  },
  {
    name: 'file over directory and a directory again, in one layer',
    layers: [archive(file('etc', 'x'), dir('etc/'), file('etc/z', 'zz'))],
    expected: [...without('etc'), 'etc/', 'etc/z 2'],
  },
  {
    name: 'directory over file',
    layers: [archive(dir('plain/'), file('plain/f', 'x'))],
    expected: [...without('plain'), 'plain/', 'plain/f 1'],
  },
  {
    name: 'directory implied over a file of a lower layer',
    layers: [archive(file('plain/f', 'x'))],
    expected: [...without('plain'), 'plain/', 'plain/f 1'],
  },
  {
    name: 'directory over link',
    layers: [archive(dir('var/'), dir('var/run/'), file('var/run/f', 'x'))],
    expected: [...without('var/run'), 'var/run/', 'var/run/f 1'],
  },
  {
    name: 'file below a link of a lower layer lands where it points',
    layers: [archive(file('var/run/f', 'x'), file('var/rel/x', 'changed'))],
    expected: [...without('etc/sub/x'), 'etc/sub/x 7', 'run/f 1'],
  },
  {
    name: 'file below a dangling absolute link',
    layers: [archive(symlink('x', '/host/dir')), archive(file('x/f', 'x'))],
    expected: [...ALL, 'host/', 'host/dir/', 'host/dir/f 1', 'x -> /host/dir'],
  },
  {
    name: 'hardlink to a file of a lower layer',
    layers: [archive(hardlink('linked', 'etc/b'), hardlink('again', '/etc/../etc/b'))],
    expected: [...ALL, 'again 2', 'linked 2'],
  },
  {
    name: 'hardlink through a link of a lower layer, to a link',
    layers: [archive(hardlink('a', 'var/rel/y'), hardlink('b', 'var/run'))],
    expected: [...ALL, 'a 4', 'b -> /run'],
  },
  {
    name: 'hardlink within the layer, its first name replaced later',
    layers: [archive(file('one', 'x'), hardlink('two', 'one'), file('one', 'other'))],
    expected: [...ALL, 'one 5', 'two 1'],
  },
  {
    name: 'a deletion mark of overlayfs in a layer hides the entry of its name',
    layers: [archive(device('plain', '3', 0, 0), file('own', 'x'), device('own', '3', 0, 0))],
    expected: without('plain'),
  },
  {
    name: 'attributes changed by a layer that holds only the directory',
    layers: [archive(dir('etc/', { mode: 0o700, uid: 1, gid: 2, mtime: 9000 }))],
    expected: ALL,
  },
  {
    name: 'three layers that delete and bring back',
    layers: [archive(whiteout('etc')), archive(dir('etc/'), file('etc/sub/n', 'n')), archive(whiteout('etc/sub'))],
    expected: [...without('etc'), 'etc/'],
  },
];

for (const { name, layers, expected, forms = FORMS } of CASES) {
  test(`${name}: the same in every form`, async () => {
    await using root = await scratch('forms');
    const trees = new Map<string, TreeEntry[]>();
    for (const form of forms) {
      const place = join(root.path, form);
      mkdirSync(place);
      trees.set(form, await unpackStack(differ, [base, ...layers], form, place));
    }
    for (const [form, tree] of trees) {
      assert.deepEqual(tree.map(brief).sort(), [...expected].sort(), form);
    }
    const comparable = (form: string): unknown[] =>
      (trees.get(form) ?? []).map(({ nlink: _n, linkedTo: _l, mtime, ...rest }) => ({
        ...rest,
        // What a layer does not describe gets the time at which it was unpacked.
        mtime: mtime > 1_700_000_000_000_000_000n ? 'now' : mtime,
      }));
    for (const form of forms) assert.deepEqual(comparable(form), comparable('plain'), form);
  });
}

test('a directory that a layer only implies keeps owner, mode, time and attributes of the lower one', async () => {
  for (const form of FORMS) {
    await using root = await scratch('forms');
    const tree = await unpackStack(differ, [base, archive(file('etc/new', 'x'))], form, root.path);
    const etc = tree.find(({ path }) => path === 'etc');
    assert.deepEqual(
      [etc?.mode, etc?.owner, etc?.mtime, etc?.xattrs],
      ['40751', '5:6', 1000n * 1_000_000_000n, ['user.kept=796573']],
      form,
    );
  }
});

test('a detached layer says when it needs its parents', async () => {
  const needs: [Buffer, boolean][] = [
    [archive(dir('etc/'), file('etc/new')), false],
    [archive(file('new'), whiteout('etc')), false],
    [archive(dir('d/'), file('d/f', 'x'), hardlink('d/g', 'd/f')), false],
    [archive(file('etc/new')), true],
    [archive(hardlink('new', 'etc/a')), true],
    [archive(whiteout('etc/a')), true],
    [archive(dir('etc/'), whiteout('etc/a')), false],
    [archive(whiteout('etc'), file('etc/new')), false],
  ];
  for (const [bytes, expected] of needs) {
    await using root = await scratch('forms');
    const mounts = [{ type: 'bind', source: root.path, target: '', options: ['rbind', 'rw'] }];
    assert.equal((await differ.apply(bytes, { mounts, detached: true })).unresolved, expected);
  }
});

test('a detached layer is told its parents in the end, and says when it would have been another on them', async () => {
  const linked = archive(dir('usr/'), dir('usr/lib/'), symlink('lib', 'usr/lib'));
  const refuse = (): never => assert.fail('nothing is implied');
  const stacks: [Buffer, Buffer, boolean][] = [
    [base, archive(file('etc/new')), false],
    [base, archive(file('none/new')), false],
    [base, archive(whiteout('etc/a')), false],
    [base, archive(file('etc/new'), dir('etc/', { mode: 0o700 })), false],
    [linked, archive(file('usr/lib/new')), false],
    [linked, archive(file('lib/new')), true],
    [linked, archive(file('lib/new'), dir('lib/')), true],
    [linked, archive(dir('lib/'), file('lib/new')), false],
  ];
  for (const [index, [lower, upper, expected]] of stacks.entries()) {
    await using root = await scratch('forms');
    const [below = '', above = ''] = ['below', 'above'].map((name) => {
      mkdirSync(join(root.path, name));
      return join(root.path, name);
    });
    await differ.apply(lower, { mounts: [bind(below)] });
    const parents = async () => [bind(below)];
    const { unresolved } = await differ.apply(upper, { mounts: [bind(above)], detached: true, parents });
    assert.equal(unresolved, expected, `stack ${index}`);
    await using alone = await scratch('forms');
    await differ.apply(archive(dir('a/'), file('a/b')), {
      mounts: [bind(alone.path)],
      detached: true,
      parents: refuse,
    });
  }
});

test('a detached layer whose parents cannot be had fails with their error', async () => {
  await using root = await scratch('forms');
  const parents = () => Promise.reject(new KeelsonError('NOT_FOUND', 'no parents'));
  const applying = differ.apply(archive(file('etc/new')), { mounts: [bind(root.path)], detached: true, parents });
  await assert.rejects(applying, { code: 'NOT_FOUND', message: 'no parents' });
});

test('layers that share paths, unpacked at the same time apart from each other, give what they give in turn', async () => {
  await using root = await scratch('forms');
  const stack = [
    base,
    archive(dir('etc/'), file('etc/a', 'new'), whiteout('etc/b'), dir('shared/'), file('shared/1', '1')),
    archive(dir('etc/'), opaque('etc'), file('etc/only', 'x'), dir('shared/'), file('shared/2', '2')),
    archive(whiteout('shared/1'), dir('shared/', { mode: 0o711 })),
  ];
  const places = stack.map((_, index) => join(root.path, `${index}`));
  await Promise.all(
    stack.map(async (bytes, index) => {
      const place = places[index] ?? '';
      mkdirSync(place);
      const mounts = [{ type: 'bind', source: place, target: '', options: ['rbind', 'rw'] }];
      const { unresolved } = await differ.apply(bytes, { mounts, detached: index > 0 });
      assert.equal(unresolved, index === 3, 'the last one implies a directory before it describes it');
    }),
  );
  const inTurn = join(root.path, 'in-turn');
  mkdirSync(inTurn);
  const expected = await unpackStack(differ, stack.slice(0, 3), 'overlay', inTurn);
  const options = [`lowerdir=${places.slice(0, 3).reverse().join(':')}`];
  const merged = await withMounts(
    [{ type: 'overlay', source: 'overlay', target: '', options }],
    (path) => describeTree(path, { withoutRoot: true }),
    { directory: root.path },
  );
  assert.deepEqual(treeDifferences(merged, expected), []);
});
