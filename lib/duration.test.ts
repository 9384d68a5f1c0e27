import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDuration } from './duration.js';
import { parseRfc3339 } from './rfc3339.js';

describe('durations', () => {
  it('reads what Go writes', () => {
    const known = { '0': 0, '0s': 0, '100ms': 100, '1h30m': 5_400_000, '1.5s': 1500, '.5m': 30_000, '-1m2s': -62_000 };
    for (const [text, millis] of Object.entries(known)) assert.equal(parseDuration(text), millis, text);
    assert.equal(parseDuration('1us'), 1e-3);
  });

  it('refuses the rest', () => {
    for (const text of ['', '1', 's', '1d', '1 s', '1s ', '--1s', '1..5s', '1e3s']) {
      assert.equal(parseDuration(text), undefined, text);
    }
  });
});

describe('moments of RFC 3339', () => {
  it('are exact', () => {
    assert.equal(parseRfc3339('1970-01-01T00:00:00Z'), 0n);
    assert.equal(parseRfc3339('2026-11-23T10:00:00.123456789+02:00'), 1_795_420_800_123_456_789n);
    assert.equal(parseRfc3339('1969-12-31T23:59:59.5Z'), -500_000_000n);
  });

  it('are nothing else', () => {
    for (const text of ['', 'tomorrow', '2026-11-23', '2026-13-01T00:00:00Z', '2026-11-23 10:00:00Z', '1700000000']) {
      assert.equal(parseRfc3339(text), undefined, text);
    }
  });
});
