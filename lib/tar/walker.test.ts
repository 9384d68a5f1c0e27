import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { extract, pack } from 'tar-stream';
import { hasCode } from '../../kernel/errors.js';
import { scratch } from '../../test/harness/scratch.js';
import { archive, END, entry, file, gnuLong, pax, raw, record, symlink } from '../../test/hostile/tar.js';
import type { TarEntry } from './entry.js';
import { TarWalker } from './walker.js';

interface Read extends TarEntry {
  readonly data: Buffer;
}

/** Everything an archive holds; `pieces` says how its bytes arrive. */
function read(bytes: Buffer, pieces: readonly number[] = []): Read[] {
  const entries: Read[] = [];
  let current: TarEntry | undefined;
  let data = Buffer.alloc(0);
  const walker = new TarWalker({
    entry(next) {
      current = next;
      data = Buffer.alloc(Math.min(next.size, 1 << 20));
    },
    data: (chunk, start, end, position) => void chunk.copy(data, position, start, end),
    end() {
      if (current) entries.push({ ...current, data });
    },
  });
  let at = 0;
  for (const size of pieces) {
    walker.push(bytes.subarray(at, at + size));
    at += size;
  }
  walker.push(bytes.subarray(at));
  walker.finish();
  return entries;
}

const refused = (bytes: Buffer): void =>
  assert.throws(
    () => read(bytes),
    (error) => hasCode(error, 'INVALID_ARGUMENT'),
  );

const names = (bytes: Buffer): string[] => read(bytes).map(({ name }) => name);

test('every field of a header arrives', () => {
  const [device] = read(
    archive(raw({ name: 'a', prefix: 'p/q', flag: '3', mode: 0o4755, uid: 7, gid: 8, major: 9, minor: 10, mtime: 11 })),
  );
  assert.deepEqual(
    { ...device, xattrs: undefined, data: undefined, atime: undefined },
    {
      type: 'character',
      name: 'p/q/a',
      link: '',
      mode: 0o4755,
      uid: 7,
      gid: 8,
      size: 0,
      mtime: { seconds: 11, nanos: 0 },
      atime: undefined,
      deviceMajor: 9,
      deviceMinor: 10,
      xattrs: undefined,
      data: undefined,
    },
  );
});

test('pax records override the header, for one entry only; a GNU name overrides them', () => {
  const bytes = archive(
    pax([
      ['path', 'long\xff'],
      ['size', '3'],
      ['uid', '4000000000'],
      ['mtime', '5.123456789999'],
      ['SCHILY.xattr.user.a', 'x=\0y'],
      ['gid', ''],
    ]),
    raw({ name: 'short', size: 0, gid: 9, data: 'abc' }),
    pax([['path', 'not-this']]),
    gnuLong('L', 'this'),
    gnuLong('K', 'target'),
    symlink('s', 'l'),
    file('plain', 'x'),
  );
  const [first, second, third] = read(bytes);
  assert.deepEqual(
    [first?.name, first?.uid, first?.gid, first?.size, first?.data.toString()],
    ['long\xff', 4_000_000_000, 9, 3, 'abc'],
  );
  assert.deepEqual(first?.mtime, { seconds: 5, nanos: 123_456_789 });
  assert.deepEqual(first?.xattrs.get('user.a'), Buffer.from('x=\0y'));
  assert.deepEqual([second?.name, second?.link], ['this', 'target']);
  assert.deepEqual([third?.name, third?.xattrs.size], ['plain', 0]);
});

test('a nested archive hidden behind a pax size is data, not entries', () => {
  const nested = archive(file('evil', 'x'));
  const bytes = archive(
    pax([['size', `${nested.length}`]]),
    raw({ name: 'outer', size: 0, data: nested }),
    file('next'),
  );
  assert.deepEqual(names(bytes), ['outer', 'next']);
});

test('a global header changes no entry, and is no entry', () => {
  assert.deepEqual(names(archive(pax([['path', 'global']], 'g'), file('a'), file('b'))), ['a', 'b']);
  assert.deepEqual(names(archive(pax([['comment', 'alone']], 'g'))), []);
  assert.deepEqual(names(archive(pax([['path', 'x']]), pax([['comment', 'between']], 'g'), file('a'))), ['a']);
});

test('numbers: base 256, negative, beyond 2^53, beyond 64 bits', () => {
  const [big] = read(archive(raw({ name: 'a', uid: 2 ** 40, mtime: -1 })));
  assert.deepEqual([big?.uid, big?.mtime], [2 ** 40, { seconds: 0, nanos: 0 }]);
  for (const size of [-1, 2n ** 53n + 1n, 2n ** 63n, 2n ** 80n]) refused(archive(raw({ name: 'a', size })));
  for (const size of ['-1', '9007199254740993', '99999999999999999999', '0x10', '1e3', ' 1', ''.padEnd(30, '1')]) {
    refused(archive(pax([['size', size]]), raw({ name: 'a' })));
  }
  refused(archive(raw({ name: 'a', size: 'zzz' })));
});

test('times out of range are the epoch, and never an error', () => {
  for (const mtime of ['-1', '253402300800', 'NaN', '1e400', '99999999999999999999', '.5', 'x']) {
    const [read0] = read(archive(pax([['mtime', mtime]]), raw({ name: 'a' })));
    assert.deepEqual(read0?.mtime, { seconds: 0, nanos: 0 }, mtime);
  }
});

test('malformed pax headers are refused, not skipped', () => {
  const bodies = [
    'x',
    '5 a=\n ',
    '99 path=a\n',
    '8 path=a',
    '4 =\n',
    '6 =aa\n',
    '7 path\n',
    'ab path=a\n',
    '-9 path=a\n',
    record('path', 'a\0b'),
    record('ke\0y', 'v'),
    '4 a\n',
    '0 a=b\n',
  ];
  for (const data of bodies) refused(archive(raw({ name: 'p', flag: 'x', data }), raw({ name: 'a' })));
  refused(archive(raw({ name: 'p', flag: 'g', data: 'nonsense' })));
});

test('an extended header of more than 1 MiB is refused before its body comes', () => {
  for (const flag of ['x', 'g', 'L', 'K']) refused(raw({ name: 'p', flag, size: 2 ** 32 }));
  for (const flag of ['x', 'g', 'L', 'K']) refused(raw({ name: 'p', flag, size: -1 }));
});

test('old layouts: v7, a directory by its slash, GNU times, a ustar prefix in a GNU header', () => {
  const v7 = raw({ name: 'd/', flag: '\0', magic: 'v7', prefix: 'not-a-prefix' });
  const clash = raw({
    name: 'b',
    magic: 'gnu',
    prefix: 'usr/share',
    patch: (block) => block.write('x'.repeat(12), 357),
  });
  const times = raw({ name: 'c', magic: 'gnu', prefix: '00000000017\0', mtime: 3 });
  const [a, b, c] = read(archive(v7, clash, times));
  assert.deepEqual([a?.name, a?.type], ['d/', 'directory']);
  assert.equal(b?.name, `usr/share${' '.repeat(0)}/b`);
  assert.deepEqual([c?.name, c?.atime], ['c', { seconds: 15, nanos: 0 }]);
});

test('links and devices have no data, whatever size they claim', () => {
  const claimed = ['1', '2', '3', '4', '5', '6'].map((flag) => raw({ name: flag, flag, link: 'x', size: 4096 }));
  assert.deepEqual(names(archive(...claimed, file('f', 'data'))), ['1', '2', '3', '4', '5', '6', 'f']);
});

test('a wrong checksum and an unknown type flag are refused; a signed checksum is not', () => {
  refused(archive(raw({ name: 'a', checksum: 1 })));
  for (const flag of ['V', 'M', 'D', 'Z', '8', '\xff']) refused(archive(raw({ name: 'a', flag })));
  const signed = raw({ name: 'a\xff\xfe' });
  const sum = signed
    .subarray(0, 512)
    .reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : (byte << 24) >> 24), 0);
  assert.deepEqual(names(archive(raw({ name: 'a\xff\xfe', checksum: sum }))), ['a\xff\xfe']);
});

test('the end: one zero block, none at all, and anything behind two', () => {
  assert.deepEqual(names(file('a', 'x')), ['a']);
  assert.deepEqual(names(Buffer.concat([file('a', 'x'), Buffer.alloc(512)])), ['a']);
  assert.deepEqual(names(Buffer.concat([file('a'), END, Buffer.from('trailing garbage')])), ['a']);
  assert.deepEqual(names(Buffer.alloc(0)), []);
  refused(Buffer.concat([file('a'), Buffer.alloc(512), file('b')]));
  refused(pax([['path', 'alone']]));
});

test('truncated at every byte: refused, but for the places where only entries or the end marker are missing', () => {
  const parts = [file('a', 'data'), pax([['path', 'b'.repeat(150)]]), raw({ name: 'b', data: 'x'.repeat(600) }), END];
  const bytes = Buffer.concat(parts);
  const whole = new Set([0, 1024, 3584, 4096, 4608]);
  const accepted: number[] = [];
  for (let size = 0; size <= bytes.length; size++) {
    try {
      read(bytes.subarray(0, size));
      accepted.push(size);
    } catch (error) {
      assert.ok(hasCode(error, 'INVALID_ARGUMENT'), `${size}: ${error}`);
    }
  }
  assert.deepEqual(new Set(accepted), whole);
});

test('sparse files of every GNU format read as GNU tar reads them', async () => {
  await using dir = await scratch('tar');
  const path = join(dir.path, 'sparse');
  const fd = openSync(path, 'w');
  for (let at = 0; at < 40; at++) writeSync(fd, `region ${at}`, at * 16384 + 4096);
  ftruncateSync(fd, 700_000);
  for (const options of [
    ['--format=gnu'],
    ['--format=pax', '--sparse-version=0.0'],
    ['--format=pax', '--sparse-version=0.1'],
    ['--format=pax', '--sparse-version=1.0'],
  ]) {
    const bytes = execFileSync('tar', ['-C', dir.path, '--sparse', ...options, '-cf', '-', 'sparse'], {
      maxBuffer: 1 << 24,
    });
    assert.ok(bytes.length < 700_000, 'GNU tar stored it sparse');
    const [sparse] = read(bytes, [511, 513, 1000, 1, 5000]);
    assert.deepEqual([sparse?.name, sparse?.size, sparse?.regions !== undefined], ['sparse', 700_000, true]);
    assert.ok(sparse?.data.equals(readFileSync(path)), options.join(' '));
  }
});

test('hostile sparse maps are refused before anything is allocated', () => {
  const map = (values: string, count: string, size = '1000'): Buffer =>
    archive(
      pax([
        ['GNU.sparse.major', '0'],
        ['GNU.sparse.minor', '1'],
        ['GNU.sparse.map', values],
        ['GNU.sparse.numblocks', count],
        ['GNU.sparse.size', size],
      ]),
      raw({ name: 's', data: Buffer.alloc(10) }),
    );
  assert.equal(read(map('5,10', '1'))[0]?.size, 1000);
  for (const [values, count] of [
    ['5,10', '2'],
    ['5,11', '1'],
    ['995,10', '1'],
    ['-5,10', '1'],
    ['5,5,7,5', '2'],
    ['0,9007199254740991', '1'],
    ['5,10', '1000000000'],
    ['5,10', '-1'],
    ['a,b', '1'],
  ] as const) {
    refused(map(values, count));
  }
  refused(map('5,10', '1', '-1'));
  const version1 = (data: string): Buffer =>
    archive(
      pax([
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.realsize', '9'],
      ]),
      raw({ name: 's', data }),
    );
  for (const data of ['', '99999999\n', '1\n', '1\n0\n', '1\nx\n1\n', '1'.repeat(600), '2\n0\n1\n'])
    refused(version1(data));
  const oldGnu = (patch: (block: Buffer) => void): Buffer =>
    archive(raw({ name: 's', flag: 'S', magic: 'gnu', patch }));
  refused(archive(raw({ name: 's', flag: 'S' })));
  refused(oldGnu((block) => block.write('00000000001\x0000000000009\0', 386)));
  refused(oldGnu((block) => block.fill(1, 482, 483)).subarray(0, 512));
});

async function collect(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) if (chunk instanceof Uint8Array) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('entries equal what tar-stream reads, whatever the pieces', async () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'ß', '/', '.', '語', 'b', '_'), minLength: 1, maxLength: 200 });
  const entries = fc.array(fc.record({ name, data: fc.uint8Array({ maxLength: 2000 }), mode: fc.nat(0o7777) }), {
    maxLength: 6,
  });
  const pieces = fc.array(fc.nat(1500), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(entries, pieces, async (wanted, sizes) => {
      const packer = pack();
      for (const { name: path, data, mode } of wanted)
        packer.entry({ name: path, mode, type: 'file' }, Buffer.from(data));
      packer.finalize();
      const bytes = await collect(packer);
      const expected: unknown[] = [];
      const extractor = extract();
      extractor.end(bytes);
      for await (const stream of extractor) {
        const data = await collect(stream);
        expected.push([stream.header.name, stream.header.mode, data.toString('hex')]);
      }
      const actual = read(bytes, sizes).map((one) => [
        Buffer.from(one.name, 'latin1').toString(),
        one.mode,
        one.data.toString('hex'),
      ]);
      assert.deepEqual(actual, expected);
    }),
    { numRuns: 200 },
  );
});

test('bytes damaged anywhere, 50,000 times: entries or INVALID_ARGUMENT, the same whatever the pieces', () => {
  const base = archive(
    pax([
      ['path', 'p'.repeat(120)],
      ['GNU.sparse.map', '0,5'],
      ['GNU.sparse.numblocks', '1'],
      ['GNU.sparse.size', '9'],
    ]),
    raw({ name: 's', data: 'hello' }),
    gnuLong('L', 'long'),
    file('f', 'x'.repeat(700)),
    entry({ name: 'd/', flag: '5' }, [['mtime', '1.5']]),
  );
  const outcome = (bytes: Buffer, pieces: readonly number[]): unknown => {
    try {
      return read(bytes, pieces);
    } catch (error) {
      assert.ok(hasCode(error, 'INVALID_ARGUMENT'), String(error));
      return 'refused';
    }
  };
  const fixChecksums = (bytes: Buffer): void => {
    for (let at = 0; at + 512 <= bytes.length; at += 512) {
      if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
      bytes.fill(0x20, at + 148, at + 156);
      const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
      bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
    }
  };
  const damage = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(damage, fc.boolean(), fc.array(fc.nat(1200), { maxLength: 10 }), (changes, fix, pieces) => {
      const bytes = Buffer.from(base);
      for (const [at, value] of changes) bytes[at] = value;
      if (fix) fixChecksums(bytes);
      assert.deepEqual(outcome(bytes, pieces), outcome(bytes, []));
    }),
    { numRuns: 50_000 },
  );
});

test('names equal what GNU tar lists', async () => {
  await using dir = await scratch('tar');
  const bytes = archive(
    file('plain'),
    entry({ name: 'x'.repeat(300) }),
    gnuLong('L', 'y'.repeat(200)),
    file('cut', 'data'),
    raw({ name: 'f', prefix: 'some/prefix' }),
    pax([['size', '4']]),
    raw({ name: 'sized', size: 0, data: 'four' }),
  );
  const path = join(dir.path, 'a.tar');
  writeFileSync(path, bytes);
  const listed = execFileSync('tar', ['-tf', path], { encoding: 'latin1' }).trim().split('\n');
  assert.deepEqual(names(bytes), listed);
});
