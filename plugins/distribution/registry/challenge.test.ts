import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseChallenges } from './challenge.js';

const plain = (...lines: string[]) =>
  parseChallenges(lines).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('WWW-Authenticate', () => {
  it('reads what registries send', () => {
    assert.deepEqual(
      plain('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'),
      [
        [
          'bearer',
          { realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'repository:a/b:pull' },
        ],
      ],
    );
    assert.deepEqual(plain('Basic realm="x"', 'Bearer realm=y , error="invalid_token"'), [
      ['basic', { realm: 'x' }],
      ['bearer', { realm: 'y', error: 'invalid_token' }],
    ]);
  });

  it('reads several in one line', () => {
    assert.deepEqual(plain('Negotiate, Basic realm="a, b=c", Bearer realm="d"'), [
      ['negotiate', {}],
      ['basic', { realm: 'a, b=c' }],
      ['bearer', { realm: 'd' }],
    ]);
    assert.deepEqual(plain('NTLM TlRMTVNTUAAB==, Basic realm=a').at(-1), ['basic', { realm: 'a' }]);
  });

  it('reads quotes within quotes, and takes the first of equal names', () => {
    assert.deepEqual(plain('Basic realm="a\\"b\\\\c", realm="second"'), [['basic', { realm: 'a"b\\c' }]]);
  });

  it('leaves out what is malformed', () => {
    for (const text of ['', ',', '=', '="x"', '"Basic"', 'Basic realm="never closed', 'é']) {
      assert.ok(
        plain(text).every(([, parameters]) => Object.keys(parameters ?? {}).length === 0),
        text,
      );
    }
  });

  it('survives anything', () => {
    const parts = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'realm', 'a', '\t', '/', '==', 'é');
    const text = fc.oneof(
      fc.string(),
      fc.array(parts).map((list) => list.join('')),
    );
    fc.assert(
      fc.property(text, (line) => parseChallenges([line]).every(({ scheme }) => /^[^\s",=]+$/.test(scheme))),
      { numRuns: 50_000 },
    );
  });

  it('takes linear time', () => {
    const started = performance.now();
    for (const piece of ['a ', 'a=b,', '"', '\\"', 'a="', ',', ' =']) plain(`Bearer ${piece.repeat(200_000)}`);
    assert.ok(performance.now() - started < 10_000);
  });
});
