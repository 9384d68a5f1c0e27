import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { it } from 'node:test';
import { Sha256 } from './sha256.js';

const BYTES = Buffer.from(Array.from({ length: 1000 }, (_, index) => (index * 131) % 251));

const expected = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const open = (): Sha256 => {
  const hash = Sha256.open();
  assert.ok(hash, 'the pinned runtime has the functions');
  return hash;
};

it('is SHA-256, of any number of bytes, asked at any time', () => {
  const hash = open();
  assert.equal(hash.digest(), expected(Buffer.alloc(0)));
  for (let at = 0; at < BYTES.length; at += 37) {
    assert.equal(hash.update(BYTES.subarray(at, at + 37)).digest(), expected(BYTES.subarray(0, at + 37)));
  }
});

it('goes on from a saved state', () => {
  for (let cut = 0; cut < 200; cut += 1) {
    const restored = Sha256.restore(open().update(BYTES.subarray(0, cut)).state());
    assert.equal(restored?.update(BYTES.subarray(cut)).digest(), expected(BYTES));
  }
  assert.equal(Sha256.restore(Buffer.alloc(3)), undefined);
});

it('a copy goes its own way', () => {
  const hash = open().update(BYTES);
  const copy = hash.copy().update(BYTES);
  assert.deepEqual([hash.digest(), copy.digest()], [expected(BYTES), expected(Buffer.concat([BYTES, BYTES]))]);
});
