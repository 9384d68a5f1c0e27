import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../kernel/errors.js';
import { digestOf, formatDigest, parseDigest } from './digest.js';

const EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

describe('digests', () => {
  it('names bytes', () => {
    assert.equal(digestOf(new Uint8Array()), EMPTY);
    for (const algorithm of ['sha384', 'sha512'] as const) {
      const digest = digestOf(new Uint8Array(), algorithm);
      const parsed = parseDigest(digest);
      assert.equal(formatDigest(parsed.algorithm, parsed.hex), digest);
    }
  });

  const refused = [
    '',
    'sha256',
    'sha256:',
    ':',
    EMPTY.slice(0, -1),
    `${EMPTY}0`,
    EMPTY.toUpperCase(),
    EMPTY.replace('e3b0', 'E3B0'),
    'sha256:../../x',
    `sha256:${'../'.repeat(21)}x`,
    `sha257:${'0'.repeat(64)}`,
    `md5:${'0'.repeat(32)}`,
    `constructor:${'0'.repeat(64)}`,
    `${EMPTY}\n`,
    'x'.repeat(100_000),
  ];
  for (const text of refused) {
    it(`refuses ${JSON.stringify(text.slice(0, 30))}`, () => {
      assert.throws(
        () => parseDigest(text),
        (error) => hasCode(error, 'INVALID_ARGUMENT') && error instanceof Error && error.message.length < 300,
      );
    });
  }
});
