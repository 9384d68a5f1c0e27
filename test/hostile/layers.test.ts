/**
 * Layers that try to reach out of the tree they are unpacked into, each in the
 * plain and in the overlay form. Nothing outside may change, and the tree must
 * be what containerd makes of the same layer.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { codeOf, type ErrorCode } from '../../kernel/errors.js';
import { withMounts } from '../../lib/linux/mount.js';
import { brief, describeTree, type TreeEntry } from '../harness/tree.js';
import { bind, TestDiffer } from '../harness/unpack.js';
import { type Arena, arena } from './sentinel.js';
import { archive, device, dir, fifo, file, hardlink, opaque, pax, raw, symlink, whiteout } from './tar.js';

const differ = new TestDiffer();
// Started before descriptors are counted.
before(async () => {
  await using place = await arena();
  await differ.apply(archive(), { mounts: [bind(place.root)] });
});
after(() => differ[Symbol.asyncDispose]());

interface Attack {
  readonly name: string;
  /** Unpacked first, into the same tree. */
  readonly before?: Buffer;
  readonly layer: (place: Arena) => Buffer;
  /** What the tree holds then, or the code of the error. */
  readonly expected: readonly string[] | ErrorCode;
  readonly check?: (tree: ReadonlyMap<string, TreeEntry>) => void;
}

const etc = [dir('etc', { mode: 0o770 }), file('etc/passwd', 'inside')];
const ETC = ['etc/', 'etc/passwd 6'];
const sameFile =
  (...paths: string[]) =>
  (tree: ReadonlyMap<string, TreeEntry>): void => {
    const [first, ...others] = paths.map((path) => tree.get(path)?.linkedTo);
    for (const other of others) assert.equal(other, first);
  };
const outside = ({ victim }: Arena): string => victim;

/** containerd's own table, TestBreakouts. */
const BREAKOUTS: readonly Attack[] = [
  {
    name: 'absolute link',
    layer: () => archive(dir('etc'), symlink('localetc', '/etc'), file('/localetc/unbroken', 'unbroken')),
    expected: ['etc/', 'etc/unbroken 8', 'localetc -> /etc'],
  },
  {
    name: 'link up and out',
    layer: () =>
      archive(dir('etc'), dir('dummy'), symlink('localetc', '/dummy/../etc'), file('/localetc/unbroken', 'unbroken')),
    expected: ['dummy/', 'etc/', 'etc/unbroken 8', 'localetc -> /dummy/../etc'],
  },
  {
    name: 'links in a row, absolute',
    layer: () =>
      archive(
        dir('etc'),
        dir('dummy'),
        symlink('/dummy/etc', '/etc'),
        symlink('localetc', '/dummy/etc'),
        file('/dummy/etc/unbroken', 'unbroken'),
      ),
    expected: ['dummy/', 'dummy/etc -> /etc', 'etc/', 'etc/unbroken 8', 'localetc -> /dummy/etc'],
  },
  {
    name: 'links in a row, relative',
    layer: () =>
      archive(
        dir('etc'),
        dir('dummy'),
        symlink('/dummy/etc', '/etc'),
        symlink('localetc', './dummy/etc'),
        file('/localetc/unbroken', 'unbroken'),
      ),
    expected: ['dummy/', 'dummy/etc -> /etc', 'etc/', 'etc/unbroken 8', 'localetc -> ./dummy/etc'],
  },
  {
    name: 'file emptied through a link',
    layer: () =>
      archive(dir('etc'), file('etc/emptied', 'notempty'), symlink('localetc', '/etc'), file('/localetc/emptied', '')),
    expected: ['etc/', 'etc/emptied 0', 'localetc -> /etc'],
  },
  {
    name: 'hardlink through a relative link',
    layer: () =>
      archive(
        ...etc,
        dir('breakouts'),
        symlink('breakouts/d1', '../../etc'),
        hardlink('breakouts/mypasswd', '/breakouts/d1/passwd'),
      ),
    expected: ['breakouts/', 'breakouts/d1 -> ../../etc', 'breakouts/mypasswd 6', ...ETC],
    check: sameFile('breakouts/mypasswd', 'etc/passwd'),
  },
  {
    name: 'hardlink down and out',
    layer: () =>
      archive(
        ...etc,
        dir('breakouts'),
        dir('downandout'),
        symlink('breakouts/d1', '../downandout/../../etc'),
        hardlink('breakouts/mypasswd', '/breakouts/d1/passwd'),
      ),
    expected: ['breakouts/', 'breakouts/d1 -> ../downandout/../../etc', 'breakouts/mypasswd 6', 'downandout/', ...ETC],
    check: sameFile('breakouts/mypasswd', 'etc/passwd'),
  },
  ...['/etc', '../../../../../../../etc', 'upandout/../../../etc'].map((target) => ({
    name: `hardlink through a link to ${target}`,
    layer: () => archive(...etc, symlink('localetc', target), hardlink('localpasswd', '/localetc/passwd')),
    expected: [...ETC, `localetc -> ${target}`, 'localpasswd 6'],
    check: sameFile('localpasswd', 'etc/passwd'),
  })),
  ...['../../../../../etc/passwd', '/etc/passwd'].map((target) => ({
    name: `hardlink to ${target}`,
    layer: () => archive(...etc, hardlink('localpasswd', target)),
    expected: [...ETC, 'localpasswd 6'],
    check: sameFile('localpasswd', 'etc/passwd'),
  })),
  ...['..', '', '.', '/', '/.', '../..', './', 'a/..'].map((name) => ({
    name: `link called "${name}", the root`,
    layer: () => archive(...etc, symlink(name, '/etc/'), hardlink('localpasswd', '/etc/passwd')),
    expected: [...ETC, 'localpasswd 6'],
    check: sameFile('localpasswd', 'etc/passwd'),
  })),
  {
    name: 'link with a parent at its end',
    layer: () => archive(...etc, symlink('localetc/sub/..', '/etc/'), hardlink('/localetc/localpasswd', '/etc/passwd')),
    expected: ['etc/', 'etc/localpasswd 6', 'etc/passwd 6', 'localetc -> /etc/'],
    check: sameFile('etc/localpasswd', 'etc/passwd'),
  },
  {
    name: 'directory with a slash at its end',
    layer: () => archive(...etc, dir('localetc/'), hardlink('/localetc/localpasswd', '/etc/passwd')),
    expected: [...ETC, 'localetc/', 'localetc/localpasswd 6'],
  },
  ...['/etc', '../../etc'].map((target) => ({
    name: `link to ${target} over a directory`,
    before: archive(...etc, dir('localetc')),
    layer: () => archive(symlink('localetc', target), hardlink('/localetc/localpasswd', '/etc/passwd')),
    expected: ['etc/', 'etc/localpasswd 6', 'etc/passwd 6', `localetc -> ${target}`],
    check: sameFile('etc/localpasswd', 'etc/passwd'),
  })),
  {
    name: 'directory over a link',
    before: archive(...etc, symlink('localetc', '/etc')),
    layer: () => archive(dir('/localetc/'), hardlink('/localetc/localpasswd', '/etc/passwd')),
    expected: [...ETC, 'localetc/', 'localetc/localpasswd 6'],
    check: sameFile('localetc/localpasswd', 'etc/passwd'),
  },
  {
    name: 'directory over a link, and a file in it',
    before: archive(...etc, symlink('localetc', 'etc'), hardlink('/localetc/localpasswd', '/etc/passwd')),
    layer: () => archive(dir('/localetc/'), file('/localetc/localpasswd', 'different')),
    expected: ['etc/', 'etc/localpasswd 6', 'etc/passwd 6', 'localetc/', 'localetc/localpasswd 9'],
  },
  ...['.wh...', 'etc/.wh...', '.wh..', 'etc/.wh..', '.wh.', 'etc/.wh.'].map((name) => ({
    name: `deletion ${name}`,
    before: archive(...etc),
    layer: () => archive(file(name)),
    expected: 'INVALID_ARGUMENT' as const,
  })),
  {
    name: 'deletion of a link',
    before: archive(...etc, symlink('localetc', '/etc')),
    layer: () => archive(whiteout('localetc')),
    expected: ETC,
  },
  {
    name: 'deletion through a link',
    before: archive(...etc, file('etc/whitedout', 'gone'), symlink('localetc', '/etc')),
    layer: () => archive(whiteout('localetc/whitedout')),
    expected: [...ETC, 'localetc -> /etc'],
  },
  {
    name: 'directory whose name looks like a deletion',
    before: archive(...etc),
    layer: () => archive(file('.wh.etc/somefile', 'non-empty')),
    expected: ['.wh.etc/', '.wh.etc/somefile 9', ...ETC],
  },
  {
    name: 'deletion through a dead link',
    before: archive(...etc, symlink('localetc', '/dne')),
    layer: () => archive(whiteout('localetc/etc')),
    expected: ['dne/', ...ETC, 'localetc -> /dne'],
  },
  {
    name: 'deletion by a path with a parent in it',
    before: archive(...etc, symlink('localetc', '/dne')),
    layer: () => archive(file('dne/../.wh.etc')),
    expected: ['localetc -> /dne'],
  },
  {
    name: 'directory, link to the root in its place, directory again',
    layer: (place) => {
      const tmp = outside(place).slice(1);
      return archive(
        dir('foo'),
        dir(`foo/${tmp}`),
        file(`foo/${tmp}/secret`, 'one'),
        symlink('foo', '/'),
        file(`foo/${tmp}/breakout`, 'two'),
        dir('foo'),
        dir('foo/tmp'),
        file('foo/tmp/breakout', 'three'),
      ).subarray(0);
    },
    expected: [],
  },
  {
    name: 'hardlink to a link, before what that points to exists',
    layer: () =>
      archive(
        dir('etc', { mode: 0o770 }),
        symlink('localpasswd', '/etc/passwd'),
        hardlink('localpasswd-dup', 'localpasswd'),
        file('/etc/passwd', 'after'),
      ),
    expected: ['etc/', 'etc/passwd 5', 'localpasswd -> /etc/passwd', 'localpasswd-dup -> /etc/passwd'],
    check: sameFile('localpasswd', 'localpasswd-dup'),
  },
  ...['../../../../../etc/passwd', '/etc/passwd'].map((target) => ({
    name: `hardlink to a link to ${target}`,
    layer: () => archive(...etc, symlink('passwdlink', target), hardlink('localpasswd', '/passwdlink')),
    expected: [...ETC, `localpasswd -> ${target}`, `passwdlink -> ${target}`],
    check: sameFile('localpasswd', 'passwdlink'),
  })),
];

/** Parents of a path, as `brief` shows them. */
const parents = (path: string): string[] =>
  path.split('/').map((_, index, parts) => `${parts.slice(0, index + 1).join('/')}/`);

const REACHING_OUT: readonly Attack[] = [
  {
    name: 'file through a link to a directory outside lands inside',
    layer: (place) => archive(symlink('x', outside(place)), file('x/f', 'data'), file('x/secret', 'mine')),
    expected: [],
  },
  {
    name: 'chain of two links and a file through it',
    layer: () =>
      archive(
        dir('inner'),
        symlink('inner/go_up', '..'),
        symlink('inner/go_up/escape', '../victim'),
        file('escape/secret', 'mine'),
        hardlink('linked', 'inner/go_up/escape/secret'),
      ),
    expected: ['escape -> ../victim', 'inner/', 'inner/go_up -> ..', 'linked 4', 'victim/', 'victim/secret 4'],
  },
  {
    name: 'hardlink to a sibling whose name begins like the root',
    layer: ({ sibling }) => archive(hardlink('stolen', `../${sibling}/secret`)),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'link into that sibling, and a file through it',
    layer: ({ sibling }) => archive(symlink('out', `../${sibling}`), file('out/secret', 'x'), file('out', 'gone')),
    expected: ['out 4', 'root-evil/', 'root-evil/secret 1'],
  },
  ...['../p', '/p', 'a/../../p', '//p', '../../../../p', './/../p'].map((name) => ({
    name: `file called ${name}`,
    layer: () => archive(file(name, 'data')),
    expected: ['p 4'],
  })),
  {
    name: 'hardlink that does not exist',
    layer: () => archive(hardlink('a', 'nothing')),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'hardlink to a directory',
    layer: () => archive(dir('d'), hardlink('a', 'd')),
    expected: 'INVALID_ARGUMENT',
  },
  ...['.', '..', 'd/', '/', ''].map((link) => ({
    name: `hardlink to "${link}"`,
    layer: () => archive(dir('d'), hardlink('a', link)),
    expected: 'INVALID_ARGUMENT' as const,
  })),
  {
    name: 'hardlink to what it replaces',
    layer: () => archive(dir('d'), file('d/x', 'y'), hardlink('d', 'd/x')),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'hardlink through a link to a file outside, with other attributes',
    layer: (place) =>
      archive(
        symlink('also', `${outside(place)}/secret`),
        hardlink('sketchy', 'also', { mode: 0o777, uid: 0, mtime: 7 }),
        file('plain', ''),
      ),
    expected: [],
  },
  {
    name: 'file over a link to a file outside',
    layer: (place) => archive(symlink('x', `${outside(place)}/secret`), file('x', 'mine', { mode: 0o777, uid: 9 })),
    expected: ['x 4'],
  },
  {
    name: 'attributes of a link to a directory outside are the link’s',
    layer: (place) =>
      archive(symlink('x', outside(place), { mode: 0o777, uid: 9, gid: 9, mtime: 9 }, [['SCHILY.xattr.user.a', 'b']])),
    expected: [],
  },
  {
    name: 'directory, its time recorded, replaced by a link outside',
    layer: (place) => archive(dir('a'), dir('a/dir', { mtime: 5 }), file('a/dir/f'), symlink('a', outside(place))),
    expected: [],
  },
  {
    name: 'deletion and opaque mark through a link to a directory outside',
    before: archive(file('kept', 'x')),
    layer: (place) => archive(symlink('x', outside(place)), whiteout('x/secret'), opaque('x'), whiteout('x/dir')),
    expected: [],
  },
  {
    name: 'links in a circle',
    layer: () => archive(symlink('a', 'b'), symlink('b', 'a'), file('a/f', 'x')),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'links that multiply',
    layer: () =>
      archive(
        ...Array.from({ length: 60 }, (_, index) => symlink(`l${index + 1}`, `l${index}/../l${index}`)),
        dir('l0'),
        file('l60/f', 'x'),
      ),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'file where a directory is needed',
    layer: () => archive(file('a', 'x'), file('a/b', 'y')),
    expected: 'INVALID_ARGUMENT',
  },
];

const REPLACING: readonly Attack[] = [
  {
    name: 'everything over everything',
    layer: () =>
      archive(
        ...['file', 'full', 'link', 'pipe', 'null'].flatMap((name) => [
          dir(`${name}/`),
          file(`${name}/inside/deep`, 'x'),
        ]),
        file('file', 'new'),
        symlink('link', 'file'),
        fifo('pipe'),
        device('null', '3', 1, 3),
        dir('full', { mode: 0o700 }),
        symlink('file', 'over'),
        file('link', 'over'),
        dir('pipe'),
        file('null', ''),
        hardlink('pipe', 'link'),
      ),
    expected: ['file -> over', 'full/', 'full/inside/', 'full/inside/deep 1', 'link 4', 'null 0', 'pipe 4'],
  },
  {
    name: 'same directory twice: the last description counts',
    layer: () =>
      archive(
        dir('d', { mode: 0o777, uid: 5 }, [['SCHILY.xattr.user.a', '1']]),
        dir('d', { mode: 0o700, mtime: 50 }, [['SCHILY.xattr.user.b', '2']]),
      ),
    expected: ['d/'],
    check: (tree) => {
      const d = tree.get('d');
      assert.deepEqual([d?.mode, d?.owner, d?.mtime, d?.xattrs], ['40700', '0:0', 50_000_000_000n, ['user.b=32']]);
    },
  },
];

const ODD: readonly Attack[] = [
  { name: 'device number -1', layer: () => archive(device('d', '3', -1, 0)), expected: 'INVALID_ARGUMENT' },
  { name: 'device number 2^32', layer: () => archive(device('d', '4', 0, 2 ** 32)), expected: 'INVALID_ARGUMENT' },
  {
    name: 'device number too big for Linux',
    layer: () => archive(device('d', '4', 2 ** 31, 0)),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'device of the largest number',
    layer: () => archive(device('d', '3', 4095, 1048575)),
    expected: ['d character 4095:1048575'],
  },
  ...[-1, 2 ** 32 - 1, 2 ** 32, 2 ** 53].map((uid) => ({
    name: `owner ${uid}`,
    layer: () => archive(file('a', '', { uid })),
    expected: 'INVALID_ARGUMENT' as const,
  })),
  {
    name: 'attributes of the overlay filesystem are never set from an archive',
    layer: () =>
      archive(
        dir('d', {}, [
          ['SCHILY.xattr.trusted.overlay.opaque', 'y'],
          ['SCHILY.xattr.trusted.overlay.redirect', '/etc'],
          ['SCHILY.xattr.trusted.other', 'x'],
          ['SCHILY.xattr.user.mine', 'x'],
        ]),
        file('f', 'x', {}, [['SCHILY.xattr.trusted.overlay.metacopy', '']]),
      ),
    expected: ['d/', 'f 1'],
    check: (tree) => {
      assert.deepEqual(tree.get('d')?.xattrs, ['user.mine=78']);
      assert.deepEqual(tree.get('f')?.xattrs, []);
    },
  },
  {
    name: 'attribute of more than 64 KiB',
    layer: () => archive(file('f', 'x', {}, [['SCHILY.xattr.user.big', 'x'.repeat(65_537)]])),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'attributes where the kernel refuses them',
    layer: () => archive(symlink('l', 'x', {}, [['SCHILY.xattr.user.a', 'b']]), fifo('p')),
    expected: ['l -> x', 'p other '],
  },
  {
    name: 'setuid, setgid and sticky bits stay exact, whatever the owner',
    layer: () =>
      archive(
        file('f', 'x', { mode: 0o6755, uid: 1000, gid: 1000 }),
        dir('d', { mode: 0o3777, gid: 7 }),
        file('d/in', 'x', { mode: 0o644 }),
        dir('d/sub', { mode: 0o755 }),
      ),
    expected: ['d/', 'd/in 1', 'd/sub/', 'f 1'],
    check: (tree) => {
      const modes = ['f', 'd', 'd/in', 'd/sub'].map((path) => [tree.get(path)?.mode, tree.get(path)?.owner]);
      assert.deepEqual(modes, [
        ['106755', '1000:1000'],
        ['43777', '0:7'],
        ['100644', '0:0'],
        ['40755', '0:0'],
      ]);
    },
  },
  {
    name: 'names that differ in bytes that are no text, or in their composition',
    layer: () =>
      archive(
        ...['a\xff', 'a\xfe', 'caf\xc3\xa9', 'cafe\xcc\x81', 'back\\slash', '\xef\xac\x81'].map((name) =>
          file(name, name),
        ),
      ),
    expected: ['a\xfe 2', 'a\xff 2', 'back\\slash 10', 'cafe\xcc\x81 6', 'caf\xc3\xa9 5', '\xef\xac\x81 3'],
  },
  {
    name: 'times before the epoch and after the end of time',
    layer: () => archive(file('a', '', { mtime: -1 }), file('b', '', {}, [['mtime', '253402300800']])),
    expected: ['a 0', 'b 0'],
    check: (tree) => assert.deepEqual([tree.get('a')?.mtime, tree.get('b')?.mtime], [0n, 0n]),
  },
  {
    name: 'a thousand directories deep',
    layer: () => archive(file(`${'d/'.repeat(1000)}f`, 'x')),
    expected: [...parents('d/'.repeat(1000).slice(0, -1)), `${'d/'.repeat(1000)}f 1`],
  },
  {
    name: 'path longer than the kernel takes',
    layer: () => archive(file('d/'.repeat(2100), 'x')),
    expected: 'INVALID_ARGUMENT',
  },
  { name: 'component of 300 bytes', layer: () => archive(file('x'.repeat(300), 'x')), expected: 'INVALID_ARGUMENT' },
  {
    name: 'link longer than the kernel takes',
    layer: () => archive(symlink('a', 'x'.repeat(5000))),
    expected: 'INVALID_ARGUMENT',
  },
  { name: 'link to nothing', layer: () => archive(symlink('a', '')), expected: 'INVALID_ARGUMENT' },
  {
    name: 'sparse file with a name that holds a NUL',
    layer: () =>
      archive(
        pax([
          ['GNU.sparse.map', '0,1'],
          ['GNU.sparse.numblocks', '1'],
          ['GNU.sparse.size', '10'],
          ['GNU.sparse.name', 'a\0b'],
        ]),
        raw({ name: 'a', data: 'x' }),
      ),
    expected: 'INVALID_ARGUMENT',
  },
  {
    name: 'sparse file of two terabytes',
    layer: () =>
      archive(
        pax([
          ['GNU.sparse.map', `${2 ** 41},1`],
          ['GNU.sparse.numblocks', '1'],
          ['GNU.sparse.size', `${2 ** 41 + 5}`],
        ]),
        raw({ name: 'sparse', data: 'x' }),
      ),
    expected: 'RESOURCE_EXHAUSTED',
  },
  {
    name: 'legal: parents that no entry describes',
    layer: () => archive(dir('etc/dnf/'), file('etc/dnf/x/y', '1')),
    expected: ['etc/', 'etc/dnf/', 'etc/dnf/x/', 'etc/dnf/x/y 1'],
  },
  {
    name: 'legal: absolute link, then files below it',
    layer: () => archive(dir('run'), dir('var'), symlink('var/run', '/run'), file('var/run/pid', '1')),
    expected: ['run/', 'run/pid 1', 'var/', 'var/run -> /run'],
  },
];

const FORMS = ['plain', 'overlay'] as const;

/** The layer's mounts: the root itself, or an overlay on what was there before. */
async function unpack(place: Arena, attack: Attack, form: (typeof FORMS)[number]): Promise<void> {
  const [lower, upper] = [join(place.root, 'lower'), join(place.root, 'upper')];
  if (form === 'plain') {
    if (attack.before) await differ.apply(attack.before, { mounts: [bind(place.root)] });
    await differ.apply(attack.layer(place), { mounts: [bind(place.root)] });
    return;
  }
  for (const directory of [lower, upper]) mkdirSync(directory, { mode: 0o755 });
  if (attack.before) await differ.apply(attack.before, { mounts: [bind(lower)] });
  const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${place.root}/work`];
  await differ.apply(attack.layer(place), { mounts: [{ type: 'overlay', source: 'overlay', target: '', options }] });
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** What is seen in the end: the root itself, or the upper directory merged with the lower one. */
function see(place: Arena, form: (typeof FORMS)[number]): Promise<TreeEntry[]> | TreeEntry[] {
  if (form === 'plain') return describeTree(place.root, { withoutRoot: true, overlayXattrs: true });
  const options = [`lowerdir=${place.root}/upper:${place.root}/lower`];
  const mounts = [{ type: 'overlay', source: 'overlay', target: '', options }];
  return withMounts(mounts, (root) => describeTree(root, { withoutRoot: true }), { directory: place.root });
}

async function verify(place: Arena, form: (typeof FORMS)[number], { expected, check }: Attack): Promise<void> {
  const tree = await see(place, form);
  if (typeof expected !== 'string' && expected.length > 0)
    assert.deepEqual(tree.map(brief).sort(), [...expected].sort());
  check?.(new Map(tree.map((entry) => [entry.path, entry])));
}

for (const [group, attacks] of Object.entries({ BREAKOUTS, REACHING_OUT, REPLACING, ODD })) {
  for (const form of FORMS) {
    describe(`${group.toLowerCase().replace('_', ' ')}, ${form}`, () => {
      for (const attack of attacks) {
        test(attack.name, async () => {
          await using place = await arena();
          const open = descriptors();
          const outcome = await unpack(place, attack, form).then(
            () => undefined,
            (error: unknown) => ({ code: codeOf(error), error }),
          );
          assert.deepEqual(place.damage(), []);
          const wanted = typeof attack.expected === 'string' ? attack.expected : undefined;
          assert.equal(outcome?.code, wanted, String(outcome?.error));
          if (wanted === undefined) await verify(place, form, attack);
          assert.ok(descriptors() <= open, 'a descriptor is left open');
        });
      }
    });
  }
}

test('attributes of the overlay itself are dropped in whichever namespace the mount keeps them', async () => {
  const names = ['trusted.overlay.opaque', 'user.overlay.opaque', 'user.overlay.redirect'];
  const records = [...names, 'user.kept'].map((name) => [`SCHILY.xattr.${name}`, 'y'] as const);
  for (const [userxattr, kept] of [
    [false, ['user.kept', 'user.overlay.opaque', 'user.overlay.redirect']],
    [true, ['user.kept']],
  ] as const) {
    await using place = await arena();
    const [lower, upper] = [join(place.root, 'lower'), join(place.root, 'upper')];
    for (const directory of [lower, upper]) mkdirSync(directory);
    const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${place.root}/work`];
    if (userxattr) options.push('userxattr');
    const mounts = [{ type: 'overlay', source: 'overlay', target: '', options }];
    await differ.apply(archive(dir('d/', {}, records)), { mounts });
    const [entry] = describeTree(upper, { withoutRoot: true, overlayXattrs: true });
    assert.deepEqual(entry?.xattrs.map((xattr) => xattr.split('=')[0]).sort(), [...kept].sort());
  }
});
