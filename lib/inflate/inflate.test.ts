import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { z } from 'zod';
import { hasCode } from '../../kernel/errors.js';
import { Detector, gzipEngine, openGzip } from './decompressor.js';
import type { Inflater, Sink } from './inflater.js';
import { loadIsal } from './isal.js';
import { openZlib, openZstd } from './stream.js';

type Open = (sink: Sink) => Inflater;

async function inflate(open: Open, pieces: readonly Buffer[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const inflater = open((chunk) => chunks.push(Buffer.from(chunk)));
  try {
    for (const piece of pieces) await inflater.push(piece);
    await inflater.finish();
    return Buffer.concat(chunks);
  } finally {
    inflater.close();
  }
}

const refuse = (open: Open, pieces: readonly Buffer[]): Promise<void> =>
  assert.rejects(inflate(open, pieces), (error) => hasCode(error, 'INVALID_ARGUMENT'));

const noise = randomBytes(3000);
const text = Buffer.from('words that come again '.repeat(500));
const members = [
  gzipSync(noise, { level: 0 }),
  gzipSync('x'),
  gzipSync(Buffer.concat([text, noise, text])),
  gzipSync(''),
];
const gzip = Buffer.concat(members);
const plain = Buffer.concat([noise, Buffer.from('x'), text, noise, text]);
const frame = zstdCompressSync(text);
const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
const zstd = Buffer.concat([skippable, frame, skippable, zstdCompressSync(noise)]);
const zstdPlain = Buffer.concat([text, noise]);

const detect: Open = (sink) => new Detector(sink);
const isal = loadIsal();
const engines: [string, Open, Buffer, Buffer][] = [
  ['zlib', openZlib, gzip, plain],
  ['zstd', openZstd, zstd, zstdPlain],
  ['detected gzip', detect, gzip, plain],
  ['detected zstd', detect, zstd, zstdPlain],
];
if ('open' in isal) engines.push(['isal', isal.open, gzip, plain]);

for (const [name, open, stream, expected] of engines) {
  test(`${name}: members and frames, whole and byte by byte`, async () => {
    assert.deepEqual(await inflate(open, [stream]), expected);
    const bytes = Array.from(stream, (_, index) => stream.subarray(index, index + 1));
    assert.deepEqual(await inflate(open, bytes), expected);
  });

  test(`${name}: cut in two at every place`, async () => {
    for (let at = 0; at <= stream.length; at += 1 + (at % 7)) {
      const output = await inflate(open, [stream.subarray(0, at), stream.subarray(at)]);
      assert.ok(output.equals(expected), `cut at ${at}`);
    }
  });

  test(`${name}: what the sink throws comes out, and the inflater can be closed`, async () => {
    const inflater = open(() => {
      throw new RangeError('enough');
    });
    await assert.rejects(async () => {
      await inflater.push(stream);
      await inflater.finish();
    }, RangeError);
    inflater.close();
  });
}

for (const [name, open] of engines.filter(([, , stream]) => stream === gzip)) {
  test(`${name}: truncated anywhere in the first member, or with a damaged checksum`, async () => {
    const [, small = gzip] = members;
    for (let size = 1; size < small.length; size++) {
      if (name.startsWith('detected') && size < 3) continue;
      await refuse(open, [small.subarray(0, size)]);
    }
    const damaged = Buffer.from(small);
    damaged.writeUInt8((damaged.at(-6) ?? 0) ^ 1, damaged.length - 6);
    await refuse(open, [damaged]);
    await refuse(open, [Buffer.concat([small, small.subarray(0, 12)])]);
  });
}

test('zstd: truncated', async () => {
  for (let size = 1; size < frame.length; size++) await refuse(openZstd, [frame.subarray(0, size)]);
});

test('gzip: zeros behind the last member are padding; anything else is refused, whichever engine reads it', async () => {
  for (const [, open] of engines.filter(([, , stream]) => stream === gzip)) {
    assert.deepEqual(await inflate(open, [gzip, Buffer.alloc(700)]), plain);
    assert.deepEqual(await inflate(open, [Buffer.concat([gzip, Buffer.alloc(7)])]), plain);
    for (const garbage of ['garbage', '\x1f', '\x1fx', 'g', '\0g', `\0${members[1]?.toString('latin1')}`]) {
      const behind = Buffer.from(garbage, 'latin1');
      await refuse(open, [gzip, behind]);
      await refuse(open, [gzip, behind.subarray(0, 1), behind.subarray(1)]);
      await refuse(open, [Buffer.concat([gzip, behind])]);
    }
  }
});

test('a detected stream of no known compression is passed on, however short', async () => {
  for (const bytes of ['', 'a', 'plain text']) {
    assert.equal((await inflate(detect, [Buffer.from(bytes)])).toString(), bytes);
  }
});

test('a large stream equals what gzip(1) makes of it, in pieces of any size', async () => {
  const input = Buffer.concat([randomBytes(1 << 20), Buffer.alloc(8 << 20, 'abc'), randomBytes(1 << 20)]);
  const stream = execFileSync('gzip', ['-c'], { input, maxBuffer: 1 << 26 });
  for (const size of [4093, 65_536, 1 << 20]) {
    const pieces = Array.from({ length: Math.ceil(stream.length / size) }, (_, index) =>
      stream.subarray(index * size, (index + 1) * size),
    );
    const hash = createHash('sha256');
    const inflater = openGzip((chunk) => hash.update(chunk));
    for (const piece of pieces) await inflater.push(piece);
    await inflater.finish();
    assert.equal(hash.digest('hex'), createHash('sha256').update(input).digest('hex'));
  }
});

test('a library that is not there, or is another one, is reported and not used', () => {
  for (const file of ['libnot-there.so.9', 'libm.so.6']) {
    const state = loadIsal(file);
    assert.ok('unavailable' in state && state.unavailable.length > 0);
  }
  assert.match(gzipEngine().name, /^(isal|zlib)$/);
});

/** Members with every field of the header that RFC 1952 knows, and stored, fixed and dynamic blocks. */
function framedMembers(): Buffer {
  const body = gzipSync('named').subarray(10);
  const extra = Buffer.from([0x1f, 0x8b, 8, 0b0001_1100, 0, 0, 0, 0, 0, 3, 2, 0, 1, 2]);
  const named = Buffer.concat([extra, Buffer.from('name\0comment\0'), body]);
  return Buffer.concat([
    gzipSync('abc'),
    named,
    gzipSync(randomBytes(40), { level: 0 }),
    gzipSync(text.subarray(0, 200)),
  ]);
}

const RUNS = 50_000;

const withInfo = z.object({ buffer: z.instanceof(Buffer), engine: z.object({ bytesWritten: z.number() }) });

/** What Node makes of it in one call, refused when anything but zeros is behind the last member. */
function byReference(bytes: Buffer): string {
  try {
    const { buffer, engine } = withInfo.parse(gunzipSync(bytes, { info: true }));
    const isPadded = bytes.subarray(engine.bytesWritten).every((byte) => byte === 0);
    return isPadded ? buffer.toString('latin1') : 'refused';
  } catch (error) {
    assert.ok(error instanceof Error && 'errno' in error, String(error));
    return 'refused';
  }
}

test(`gzip framing damaged anywhere, ${RUNS} times: what isal gives out, zlib gives out too, whatever the pieces`, () => {
  if (!('open' in isal)) throw new Error(isal.unavailable);
  const base = framedMembers();
  const byIsal = (bytes: Buffer, cuts: readonly number[]): string => {
    const chunks: Buffer[] = [];
    const inflater = isal.open((chunk) => chunks.push(Buffer.from(chunk)));
    let at = 0;
    try {
      for (const cut of cuts) {
        void inflater.push(bytes.subarray(at, at + cut));
        at = Math.min(at + cut, bytes.length);
      }
      void inflater.push(bytes.subarray(at));
      void inflater.finish();
      return Buffer.concat(chunks).toString('latin1');
    } catch (error) {
      assert.ok(hasCode(error, 'INVALID_ARGUMENT'), String(error));
      return 'refused';
    } finally {
      inflater.close();
    }
  };
  const damage = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 3 });
  const cuts = fc.array(fc.nat(60), { maxLength: 6 });
  fc.assert(
    fc.property(damage, fc.nat(base.length), fc.boolean(), cuts, (changes, end, whole, pieces) => {
      const bytes = Buffer.from(base).subarray(0, whole ? base.length : end);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      const outcome = byIsal(bytes, pieces);
      assert.equal(outcome, byIsal(bytes, []), 'cut in pieces');
      const reference = byReference(bytes);
      // Of the header zlib checks more than Go and isal do; the bytes that come out are checked by all.
      const sound = reference === 'refused' ? ['refused', byReference(base.subarray(0, bytes.length))] : [reference];
      assert.ok(sound.includes(outcome), `isal gives out ${outcome.length} characters, not ${reference.length}`);
    }),
    { numRuns: RUNS },
  );
});

test(`gzip framing damaged anywhere, ${RUNS} times: zlib gives out what it should, whatever the pieces, or refuses`, async () => {
  const base = framedMembers();
  const byZlib = (bytes: Buffer, cuts: readonly number[]): Promise<string> => {
    const ends = cuts.map((_, index) => cuts.slice(0, index + 1).reduce((sum, cut) => sum + cut, 0));
    const pieces = [0, ...ends].map((at, index) => bytes.subarray(at, ends[index] ?? bytes.length));
    return inflate(openZlib, pieces).then(
      (output) => output.toString('latin1'),
      (error) => {
        assert.ok(hasCode(error, 'INVALID_ARGUMENT'), String(error));
        return 'refused';
      },
    );
  };
  const damage = fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 3 });
  const cuts = fc.array(fc.nat(60), { maxLength: 2 });
  let [sound, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(damage, fc.nat(base.length), fc.boolean(), cuts, async (changes, end, whole, pieces) => {
      const bytes = Buffer.from(base).subarray(0, whole ? base.length : end);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      const outcome = await byZlib(bytes, pieces);
      if (outcome === 'refused') refused++;
      else sound++;
      assert.equal(outcome, byReference(bytes));
    }),
    { numRuns: RUNS },
  );
  assert.ok(sound > 1000 && refused > 1000, `${sound} inflated, ${refused} refused`);
});
