/**
 * Archives of every dialect damaged 50,000 times each: what is read is the same whatever the pieces it comes in, keeps
 * the promises of an entry, or is refused with INVALID_ARGUMENT. FUZZ_SEED replays a run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { hasCode } from '../../kernel/errors.js';
import { archive, dir, file, gnuLong, hardlink, pax, raw, symlink } from '../../test/hostile/tar.js';
import { BLOCK, type TarEntry } from './entry.js';
import { checkRegions } from './sparse.js';
import { TarWalker } from './walker.js';

const RUNS = { numRuns: 50_000, seed: Number(process.env.FUZZ_SEED ?? 20_261_129) };

const PAX = archive(
  pax([['mtime', '1.000000001']], 'g'),
  file(`${'d/'.repeat(60)}long`, 'x'.repeat(700), {}, [
    ['mtime', '1600000000.5'],
    ['SCHILY.xattr.user.a', 'v\0w'],
  ]),
  pax([
    ['size', '3'],
    ['uid', '4000000000'],
    ['path', 'sized'],
  ]),
  raw({ name: 'short', size: 0, data: 'abc' }),
  symlink('link', 't'.repeat(120)),
);

const GNU = archive(
  gnuLong('L', 'n'.repeat(200)),
  file('cut', 'data', { magic: 'gnu' }),
  gnuLong('K', 'l'.repeat(200)),
  symlink('s', 'cut', { magic: 'gnu' }),
  file('huge', 'x', { magic: 'gnu', uid: 5_000_000_000, mtime: 9_000_000_000 }),
  dir('d/', { magic: 'v7' }),
  hardlink('h', 'cut'),
);

/** Offset and length of a region of an old GNU map, as it stands in the header and in the blocks behind it. */
const pair = (offset: number, length: number): string =>
  [offset, length].map((value) => `${value.toString(8).padStart(11, '0')}\0`).join('');

const oldGnu = Buffer.concat([
  raw({
    name: 'old',
    flag: 'S',
    magic: 'gnu',
    size: 6,
    patch(block) {
      for (const [n, region] of [pair(0, 1), pair(512, 1), pair(1024, 1), pair(1536, 1)].entries())
        block.write(region, 386 + 24 * n, 'latin1');
      block.write('\x01', 482, 'latin1');
      block.write('00000010000\0', 483, 'latin1');
    },
  }),
  Buffer.concat([Buffer.from(pair(2048, 1) + pair(3072, 1), 'latin1'), Buffer.alloc(BLOCK)]).subarray(0, BLOCK),
  Buffer.concat([Buffer.from('abcdef'), Buffer.alloc(BLOCK)]).subarray(0, BLOCK),
]);

const SPARSE = archive(
  oldGnu,
  file('GNUSparseFile.0/a', 'abcd', {}, [
    ['GNU.sparse.size', '4000'],
    ['GNU.sparse.numblocks', '2'],
    ['GNU.sparse.offset', '0'],
    ['GNU.sparse.numbytes', '2'],
    ['GNU.sparse.offset', '1000'],
    ['GNU.sparse.numbytes', '2'],
  ]),
  file('GNUSparseFile.0/b', 'abcd', {}, [
    ['GNU.sparse.name', 'b'],
    ['GNU.sparse.size', '4000'],
    ['GNU.sparse.numblocks', '2'],
    ['GNU.sparse.map', '0,2,1000,2'],
  ]),
  file(
    'GNUSparseFile.0/c',
    Buffer.concat([Buffer.from('2\n0\n2\n1000\n2\n'), Buffer.alloc(499), Buffer.from('abcd')]),
    {},
    [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', 'c'],
      ['GNU.sparse.realsize', '4000'],
    ],
  ),
  file('after', 'z'),
);

/** What is read of an archive, as text: every entry, with where its data goes and its checksum. */
function outcome(bytes: Buffer, pieces: readonly number[]): string {
  const told: string[] = [];
  let current: TarEntry | undefined;
  let end = 0;
  let sum = 0;
  const walker = new TarWalker({
    entry(next) {
      checkEntry(next);
      current = next;
      end = 0;
      sum = 0;
    },
    data(chunk, start, stop, position) {
      assert.ok(
        current && position >= end && position + (stop - start) <= current.size,
        'data within its file, in order',
      );
      end = position + (stop - start);
      sum = crc32(chunk.subarray(start, stop), sum);
    },
    end() {
      const xattrs = [...(current?.xattrs ?? [])].map(([name, value]) => [name, value.toString('latin1')]);
      told.push(JSON.stringify({ ...current, xattrs, end, sum }));
    },
  });
  try {
    let at = 0;
    for (const size of pieces) {
      walker.push(bytes.subarray(at, at + size));
      at += size;
    }
    walker.push(bytes.subarray(at));
    walker.finish();
    return told.join('\n');
  } catch (error) {
    assert.ok(hasCode(error, 'INVALID_ARGUMENT'), String(error));
    return 'refused';
  }
}

function checkEntry({ size, mode, mtime, regions }: TarEntry): void {
  assert.ok(Number.isSafeInteger(size) && size >= 0);
  assert.ok(mode >= 0 && mode <= 0o7777);
  assert.ok(mtime.seconds >= 0 && mtime.nanos >= 0 && mtime.nanos < 1e9);
  if (regions) checkRegions(regions, size);
}

/** Makes the checksums of headers right again, so that damage is seen by what comes after that check. */
function fixChecksums(bytes: Buffer): void {
  for (let at = 0; at + BLOCK <= bytes.length; at += BLOCK) {
    if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
    bytes.fill(0x20, at + 148, at + 156);
    let sum = 0;
    for (let i = at; i < at + BLOCK; i++) sum += bytes[i] ?? 0;
    bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  }
}

/** Bytes that mean something: digits, ends, signs, flags of entries and the mark of base 256. */
const byte = fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('0179 =-,\n\0SxgLK25\x80\xff', 'latin1')));

type Edit = readonly [block: number, at: number, value: number, how: 'set' | 'drop' | 'double'];

function damaged(base: Buffer, edits: readonly Edit[]): Buffer {
  let bytes = Buffer.from(base);
  for (const [block, at, value, how] of edits) {
    const start = block * BLOCK;
    if (how === 'set') bytes[Math.min(start + at, bytes.length - 1)] = value;
    else if (how === 'drop') bytes = Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + BLOCK)]);
    else bytes = Buffer.concat([bytes.subarray(0, start + BLOCK), bytes.subarray(start)]);
  }
  return bytes;
}

for (const [dialect, base] of [
  ['pax', PAX],
  ['GNU', GNU],
  ['sparse', SPARSE],
] as const)
  test(`a ${dialect} archive damaged anywhere, ${RUNS.numRuns} times`, () => {
    assert.notEqual(outcome(base, []), 'refused');
    const edit: fc.Arbitrary<Edit> = fc.tuple(
      fc.nat(base.length / BLOCK - 1),
      fc.nat(BLOCK - 1),
      byte,
      fc.constantFrom('set', 'set', 'set', 'set', 'set', 'drop', 'double'),
    );
    const edits = fc.array(edit, { minLength: 1, maxLength: 5 });
    let [read, refused] = [0, 0];
    fc.assert(
      fc.property(edits, fc.boolean(), fc.array(fc.nat(1200), { maxLength: 8 }), (changes, fix, pieces) => {
        const bytes = damaged(base, changes);
        if (fix) fixChecksums(bytes);
        const whole = outcome(bytes, []);
        assert.equal(outcome(bytes, pieces), whole);
        if (whole === 'refused') refused++;
        else read++;
      }),
      RUNS,
    );
    assert.ok(read > 1000 && refused > 1000, `${read} read, ${refused} refused`);
  });
