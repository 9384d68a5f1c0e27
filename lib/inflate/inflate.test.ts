import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
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

test('gzip: zeros behind the last member are padding; isal ignores other bytes too, as gzip(1) does', async () => {
  for (const [, open] of engines.filter(([, , stream]) => stream === gzip)) {
    assert.deepEqual(await inflate(open, [gzip, Buffer.alloc(700)]), plain);
  }
  if ('open' in isal) assert.deepEqual(await inflate(isal.open, [gzip, Buffer.from('garbage')]), plain);
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
