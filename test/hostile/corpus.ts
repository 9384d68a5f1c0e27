/**
 * Archives made by the dozen: every way to reach out of the tree, through every kind of entry, each beside a twin
 * that does the same inside it; names and fields of every odd kind. What a twin becomes is what GNU tar makes of it.
 */
import type { Arena } from './sentinel.js';
import { archive, device, dir, fifo, file, gnuLong, hardlink, opaque, pax, raw, symlink, whiteout } from './tar.js';

export interface Sample {
  readonly name: string;
  readonly bytes: (place: Arena) => Buffer;
  /** GNU tar must make the same tree of it. Else it only must not reach out. */
  readonly legal: boolean;
}

type Target = readonly [name: string, make: (place: Arena) => string];

/** Where a link may lead: outside, by every road. */
const OUTSIDE: readonly Target[] = [
  ['absolute', ({ victim }) => victim],
  ['up', () => '../victim'],
  ['far up', ({ victim }) => `${'../'.repeat(30)}${victim.slice(1)}`],
  ['down and up', () => 'inside/../../victim'],
  ['sibling with the name of the root', ({ sibling }) => `../${sibling}`],
  ['by dots and slashes', ({ victim }) => `.//..//.//../${victim.slice(1)}/.`],
  ['by the process', ({ victim }) => `/proc/self/root${victim}`],
];

type Act = readonly [name: string, through: (link: string) => readonly Buffer[]];

/** What may be done through the link. */
const ACTS: readonly Act[] = [
  ['file', (link) => [file(`${link}/secret`, 'changed', { mode: 0o777 })]],
  ['new file', (link) => [file(`${link}/new`, 'new')]],
  ['directory', (link) => [dir(`${link}/dir`, { mode: 0o700, uid: 3 })]],
  ['link', (link) => [symlink(`${link}/another`, 'secret')]],
  ['hardlink out', (link) => [hardlink('stolen', `${link}/secret`), file('stolen', 'changed')]],
  ['hardlink in', (link) => [file('mine', 'x'), hardlink(`${link}/linked`, 'mine')]],
  ['fifo', (link) => [fifo(`${link}/pipe`)]],
  ['device', (link) => [device(`${link}/null`, '3', 1, 3)]],
  ['deletion', (link) => [whiteout(`${link}/secret`), whiteout(`${link}/dir`)]],
  ['opaque mark', (link) => [opaque(link)]],
  ['attributes', (link) => [dir(`${link}/`, { mode: 0o777, uid: 9, mtime: 9 }, [['SCHILY.xattr.user.a', 'b']])]],
];

/** Roads to the link itself. */
const ROADS: readonly (readonly [name: string, make: (target: string) => readonly Buffer[], link: string])[] = [
  ['a link', (target) => [symlink('x', target)], 'x'],
  ['a link to a link', (target) => [symlink('x', target), symlink('y', 'x')], 'y'],
  ['a link in place of a directory', (target) => [dir('x'), file('x/f', 'f'), symlink('x', target)], 'x'],
];

function* throughLinks(): Generator<Sample> {
  for (const [road, make, link] of ROADS) {
    for (const [act, through] of ACTS) {
      for (const [where, target] of OUTSIDE) {
        const bytes = (place: Arena): Buffer =>
          archive(dir('inside'), file('inside/secret', 'inner'), ...make(target(place)), ...through(link));
        yield { name: `${act} through ${road}, ${where}`, bytes, legal: false };
      }
    }
  }
}

/** The same acts, on a directory and on a link to one inside. GNU tar knows no deletions and follows no chains. */
function* throughLinksInside(): Generator<Sample> {
  for (const [act, through] of ACTS) {
    const isLayer = act === 'deletion' || act === 'opaque mark';
    for (const [kind, there] of [
      ['a directory', [dir('x', { mode: 0o750 })]],
      ['a link', [dir('real', { mode: 0o750 }), symlink('x', 'real')]],
    ] as const) {
      // GNU tar replaces a link by a directory of its name, and so do we; the order of attributes differs.
      const legal = !isLayer && !(kind === 'a link' && act === 'attributes');
      const secret = file(kind === 'a link' ? 'real/secret' : 'x/secret', 'inner');
      yield { name: `twin: ${act} through ${kind}`, bytes: () => archive(...there, secret, ...through('x')), legal };
    }
  }
}

const NAMES: readonly string[] = [
  'plain',
  './dotted',
  'a//b',
  'a/./b',
  '/absolute',
  '//twice',
  'trailing/',
  'space here',
  ' leading',
  'new\nline',
  'tab\t',
  'back\\slash',
  '-dash',
  '--option=x',
  '*?[glob]',
  '$(touch x)',
  '\xff\xfe',
  'caf\xc3\xa9',
  'cafe\xcc\x81',
  '\xf0\x9f\x90\xb3',
  '\x01\x02',
  'x'.repeat(99),
  'x'.repeat(100),
  'x'.repeat(101),
  'x'.repeat(255),
  `${'d/'.repeat(49)}f`,
  `${'d/'.repeat(120)}f`,
  '.hidden',
  '...',
  '..a',
  'a..',
  '.whiteout-not',
  'wh.',
  'con',
  'aux.txt',
  '~',
  '%2e%2e%2f',
];

/** Names that no layer should hold. */
const HOSTILE_NAMES: readonly string[] = [
  '..',
  '../',
  '../x',
  'a/../..',
  'a/../../x',
  './../x',
  '/..',
  '/../x',
  '//../x',
  '.',
  './',
  '/',
  '//',
  '',
  '.wh.',
  '.wh..',
  '.wh...',
  'a/.wh..',
  '.wh./x',
  '.wh..wh..opq',
  '.wh..wh.plnk/1',
  '.wh..wh.aufs',
  '.wh..wh..wh..opq',
  '../victim',
  '../victim/secret',
  '../root-evil/secret',
  `${'../'.repeat(60)}etc/keelson-escaped`,
  `${'x/../'.repeat(60)}../escaped`,
  'x'.repeat(256),
  'a/'.repeat(1500),
];

const KINDS: readonly (readonly [kind: string, make: (name: string) => Buffer])[] = [
  ['file', (name) => file(name, 'data', { mode: 0o640, uid: 12, gid: 34 })],
  ['directory', (name) => dir(name, { mode: 0o751 })],
  ['link', (name) => symlink(name, 'target')],
  ['hardlink', (name) => Buffer.concat([file('first', 'data'), hardlink(name, 'first')])],
  ['fifo', (name) => (name.length > 100 ? file(name) : fifo(name))],
];

function* names(): Generator<Sample> {
  for (const [kind, make] of KINDS) {
    for (const name of NAMES) {
      // A name with a slash at its end is a directory for GNU tar, a file for Go.
      const legal = !(name.endsWith('/') && kind !== 'directory');
      yield { name: `${kind} called ${JSON.stringify(name.slice(0, 40))}`, bytes: () => archive(make(name)), legal };
    }
    for (const name of HOSTILE_NAMES) {
      const bytes = (): Buffer => archive(make(name), file('after', 'x'));
      yield { name: `${kind} called ${JSON.stringify(name.slice(0, 40))}`, bytes, legal: false };
    }
  }
}

/** Links to odd places are only text, and stay what they are; hardlinks to them lead nowhere. */
function* links(): Generator<Sample> {
  for (const target of [...NAMES, ...HOSTILE_NAMES].filter((name) => name !== '' && name.length < 4096)) {
    const shown = JSON.stringify(target.slice(0, 40));
    yield { name: `link to ${shown}`, bytes: () => archive(symlink('l', target), file('z', 'x')), legal: true };
    yield { name: `hardlink to ${shown}`, bytes: () => archive(hardlink('l', target), file('l', 'x')), legal: false };
  }
}

const FIELDS: readonly (readonly [name: string, offset: number, length: number])[] = [
  ['mode', 100, 8],
  ['uid', 108, 8],
  ['gid', 116, 8],
  ['size', 124, 12],
  ['mtime', 136, 12],
  ['major', 329, 8],
  ['minor', 337, 8],
];

/** Values of a field of that length. */
const values = (length: number): readonly (readonly [name: string, bytes: Buffer])[] => {
  const text = (value: string): Buffer => Buffer.from(value.padEnd(length, '\0').slice(0, length), 'latin1');
  const base256 = (first: number, rest: number): Buffer => Buffer.from([first, ...Array(length - 1).fill(rest)]);
  return [
    ['empty', text('')],
    ['spaces', text(' '.repeat(length))],
    ['all sevens', text('7'.repeat(length))],
    ['no octal', text('98')],
    ['letters', text('0x1f')],
    ['minus one', text('-1')],
    ['minus one in base 256', base256(0xff, 0xff)],
    ['the largest in base 256', base256(0x80, 0xff)],
    ['zero in base 256', base256(0x80, 0)],
    ['a NUL in front', text('\x00644')],
    ['digits behind a space', text('644 644')],
  ];
};

function* fields(): Generator<Sample> {
  for (const [field, offset, length] of FIELDS) {
    for (const [value, bytes] of values(length)) {
      const patch = (block: Buffer): void => void bytes.copy(block, offset);
      const flag = offset > 300 ? '3' : '0';
      const data = (): Buffer => archive(raw({ name: 'f', flag, major: 1, minor: 3, data: '', patch }), file('z', 'x'));
      yield { name: `${field}: ${value}`, bytes: data, legal: false };
    }
  }
  for (let flag = 0; flag < 256; flag += 1) {
    const patch = (block: Buffer): void => void block.writeUInt8(flag, 156);
    const bytes = (): Buffer => archive(raw({ name: 'f', link: 'z', patch }), file('z', 'x'));
    yield { name: `type flag ${flag}`, bytes, legal: false };
  }
}

/** The same entry in every dialect. */
function* dialects(): Generator<Sample> {
  const modes = [0, 0o400, 0o644, 0o755, 0o1777, 0o2755, 0o4755, 0o7777];
  for (const magic of ['ustar', 'gnu', 'v7'] as const) {
    for (const mode of modes) {
      const bytes = (): Buffer => archive(raw({ name: 'f', data: 'data', mode, uid: 1000, gid: 7, magic }));
      yield { name: `${magic}: mode ${mode.toString(8)}`, bytes, legal: true };
    }
    for (const size of [0, 1, 511, 512, 513, 70_000]) {
      const bytes = (): Buffer => archive(raw({ name: 'f', data: 'y'.repeat(size), magic }), raw({ name: 'g', magic }));
      yield { name: `${magic}: ${size} bytes`, bytes, legal: true };
    }
    const ids = [65_535, 2_097_151, 2_097_152, 4_294_967_294];
    for (const uid of ids.filter((id) => magic === 'gnu' || id < 2_097_152)) {
      const bytes = (): Buffer => archive(raw({ name: 'f', uid, gid: uid, magic }));
      yield { name: `${magic}: owner ${uid}`, bytes, legal: true };
    }
  }
  const named = (path: string, ...head: Buffer[]): Buffer =>
    archive(...head, raw({ name: path.slice(0, 100), data: 'd' }));
  for (const length of [100, 101, 155, 156, 255, 256, 400, 1000]) {
    const path = 'p'
      .repeat(50)
      .concat('/')
      .repeat(21)
      .slice(0, length - 1)
      .concat('e');
    yield { name: `pax: path of ${length}`, bytes: () => named(path, pax([['path', path]])), legal: true };
    yield { name: `gnu: path of ${length}`, bytes: () => named(path, gnuLong('L', path)), legal: true };
    const linked = (...head: Buffer[]): Buffer =>
      archive(...head, raw({ name: 'l', flag: '2', link: path.slice(0, 100) }));
    yield { name: `pax: link of ${length}`, bytes: () => linked(pax([['linkpath', path]])), legal: true };
    yield { name: `gnu: link of ${length}`, bytes: () => linked(gnuLong('K', path)), legal: true };
  }
  for (const mtime of ['0', '1', '1.5', '1600000000.123456789', '4294967296.000000001']) {
    const bytes = (): Buffer => archive(pax([['mtime', mtime]]), raw({ name: 'f' }));
    yield { name: `pax: time ${mtime}`, bytes, legal: true };
  }
  for (const [major, minor] of [
    [0, 0],
    [1, 3],
    [259, 65_536],
    [4095, 1_048_575],
  ] as const) {
    for (const flag of ['3', '4'] as const) {
      // A character device 0:0 is how overlay filesystems spell a deletion.
      const legal = !(flag === '3' && major === 0);
      yield { name: `device ${flag} ${major}:${minor}`, bytes: () => archive(device('d', flag, major, minor)), legal };
    }
  }
}

export const SAMPLES: readonly Sample[] = [
  ...throughLinks(),
  ...throughLinksInside(),
  ...names(),
  ...links(),
  ...fields(),
  ...dialects(),
];
