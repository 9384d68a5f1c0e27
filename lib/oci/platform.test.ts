import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../../kernel/errors.js';
import { formatPlatform, hostPlatform, normalizePlatform, parsePlatform, runnableOn, suitability } from './platform.js';

describe('platforms', () => {
  for (const [text, normal] of [
    ['linux/amd64', 'linux/amd64'],
    ['amd64', 'linux/amd64'],
    ['Linux/x86_64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/s390x', 'linux/s390x'],
  ] as const) {
    it(`reads ${text} as ${normal}`, () => assert.equal(formatPlatform(parsePlatform(text)), normal));
  }

  for (const text of ['', '/', 'linux/', 'a/b/c/d', 'linux/a b', '../x', `linux/${'a'.repeat(41)}`]) {
    it(`refuses ${JSON.stringify(text.slice(0, 20))}`, () => {
      assert.throws(
        () => parsePlatform(text),
        (error) => hasCode(error, 'INVALID_ARGUMENT'),
      );
    });
  }

  it('is not confused by names every object has', () => {
    assert.deepEqual(normalizePlatform({ os: 'constructor', architecture: 'toString' }), {
      os: 'constructor',
      architecture: 'tostring',
    });
  });

  it('knows its own', () => assert.match(formatPlatform(hostPlatform()), /^linux\/(amd64|arm64)$/));
});

describe('what runs where', () => {
  const list = (text: string) => runnableOn(parsePlatform(text)).map(formatPlatform);

  it('goes from best to least', () => {
    assert.deepEqual(list('linux/amd64'), ['linux/amd64', 'linux/386']);
    assert.deepEqual(list('linux/amd64/v3'), ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386']);
    assert.deepEqual(list('linux/arm/v7'), ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']);
    assert.deepEqual(list('linux/arm64'), [
      'linux/arm64',
      'linux/arm/v8',
      'linux/arm/v7',
      'linux/arm/v6',
      'linux/arm/v5',
    ]);
    assert.deepEqual(list('linux/s390x'), ['linux/s390x']);
  });

  it('ranks images', () => {
    const host = parsePlatform('linux/arm64');
    assert.equal(suitability(host, { os: 'linux', architecture: 'arm64', variant: 'v8' }), 0);
    assert.equal(suitability(host, { os: 'linux', architecture: 'arm', variant: 'v7' }), 2);
    assert.equal(suitability(host, { os: 'linux', architecture: 'amd64' }), undefined);
    assert.equal(suitability(host, { os: 'unknown', architecture: 'unknown' }), undefined);
  });
});
