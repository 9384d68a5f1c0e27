import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TarEntry } from './entry.js';
import { TarWalker } from './walker.js';
import { END_OF_ARCHIVE, entryHeader, type NewEntry, padding } from './writer.js';

const PLAIN: NewEntry = {
  type: 'file',
  name: 'a',
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: { seconds: 1, nanos: 0 },
};

function read(bytes: Buffer): TarEntry[] {
  const entries: TarEntry[] = [];
  const walker = new TarWalker({ entry: (entry) => entries.push(entry), data: () => {}, end: () => {} });
  walker.push(bytes);
  walker.finish();
  return entries;
}

const write = (entry: NewEntry): Buffer =>
  Buffer.concat([entryHeader(entry), Buffer.alloc(entry.size), padding(entry.size), END_OF_ARCHIVE]);

test('what fits into a ustar header has no other', () => {
  assert.equal(entryHeader({ ...PLAIN, name: 'x'.repeat(100), link: 'y'.repeat(100), uid: 2 ** 21 - 1 }).length, 512);
});

test('what is written is read again, byte by byte', () => {
  const bytes = (most: number): fc.Arbitrary<string> =>
    fc
      .uint8Array({ minLength: 1, maxLength: most })
      .map((array) => Buffer.from(array.map((byte) => byte || 1)).toString('latin1'));
  const entries = fc.record({
    type: fc.constantFrom('file', 'directory', 'symlink', 'hardlink', 'character', 'block', 'fifo'),
    name: bytes(300),
    link: bytes(300),
    mode: fc.nat(0o7777),
    uid: fc.nat(2 ** 32 - 2),
    gid: fc.nat(2 ** 32 - 2),
    size: fc.constant(0),
    mtime: fc.record(
      { seconds: fc.integer({ min: 0, max: 9_223_372_035 }), nanos: fc.nat(999_999_999) },
      { noNullPrototype: true },
    ),
    deviceMajor: fc.nat(4095),
    deviceMinor: fc.nat(1_048_575),
    xattrs: fc
      .dictionary(fc.constantFrom('user.a', 'user.b', 'security.capability'), fc.uint8Array())
      .map((values) => new Map(Object.entries(values))),
  });
  fc.assert(
    fc.property(entries, (entry) => {
      const [found] = read(write(entry));
      const { xattrs, ...rest } = entry;
      const expected = {
        ...rest,
        atime: rest.mtime,
        xattrs: [...xattrs].map(([key, value]) => [key, Buffer.from(value)]).sort(),
      };
      assert.deepEqual({ ...found, xattrs: [...(found?.xattrs ?? [])] }, expected);
    }),
    { numRuns: 500 },
  );
});

test('sizes beyond 8 GiB and times before 1970 are in pax records', () => {
  const header = entryHeader({ ...PLAIN, size: 2 ** 40, mtime: { seconds: -2, nanos: 750_000_000 } }).toString(
    'latin1',
  );
  assert.match(header, /22 size=1099511627776\n/);
  assert.match(header, /15 mtime=-1\.25\n/);
});

test('GNU tar reads it', () => {
  const archive = Buffer.concat([
    entryHeader({ ...PLAIN, type: 'directory', name: 'd/', mode: 0o1755 }),
    entryHeader({ ...PLAIN, name: `d/${'n'.repeat(180)}`, size: 3, uid: 3_000_000_000 }),
    Buffer.from('abc'),
    padding(3),
    entryHeader({ ...PLAIN, type: 'symlink', name: 'l', link: 't'.repeat(150) }),
    END_OF_ARCHIVE,
  ]);
  const listing = execFileSync('tar', ['-tv', '--numeric-owner', '-f', '-'], {
    input: archive,
    encoding: 'utf8',
    env: { TZ: 'UTC' },
  });
  const lines = listing
    .trim()
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' '));
  assert.deepEqual(lines, [
    'drwxr-xr-t 0/0 0 1970-01-01 00:00 d/',
    `-rw-r--r-- 3000000000/0 3 1970-01-01 00:00 d/${'n'.repeat(180)}`,
    `lrw-r--r-- 0/0 0 1970-01-01 00:00 l -> ${'t'.repeat(150)}`,
  ]);
});
