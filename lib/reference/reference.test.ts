import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../kernel/errors.js';
import { completeReference, formatReference, objectOf, parseReference } from './reference.js';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

const refused = (parse: () => unknown): void => {
  assert.throws(parse, (error) => {
    assert.ok(hasCode(error, 'INVALID_ARGUMENT'), String(error));
    assert.ok(error instanceof Error && error.message.length < 500, 'a bounded message');
    assert.doesNotMatch(error.message, /\p{Cc}/u);
    return true;
  });
};

describe('full references', () => {
  const good: [string, object][] = [
    ['docker.io/library/redis:alpine', { host: 'docker.io', repository: 'library/redis', tag: 'alpine' }],
    ['127.0.0.1:5000/a', { host: '127.0.0.1:5000', repository: 'a' }],
    ['[::1]:5000/x:1', { host: '[::1]:5000', repository: 'x', tag: '1' }],
    ['[::1]/x', { host: '[::1]', repository: 'x' }],
    ['Host.Example/a/b/c', { host: 'Host.Example', repository: 'a/b/c' }],
    [`h/x@${DIGEST}`, { host: 'h', repository: 'x', digest: DIGEST }],
    [`h:1/x:t@${DIGEST}`, { host: 'h:1', repository: 'x', tag: 't', digest: DIGEST }],
    ['h/a__b/c-d--e/f.g_h:A_b.c-9', { host: 'h', repository: 'a__b/c-d--e/f.g_h', tag: 'A_b.c-9' }],
  ];
  for (const [text, expected] of good) {
    it(`takes ${text}`, () => {
      assert.deepEqual(parseReference(text), expected);
      assert.equal(formatReference(parseReference(text)), text);
    });
  }

  const bad = [
    '',
    '/',
    'redis',
    'h/',
    'h//x',
    'h/../../x',
    'h/./x',
    'h/x/',
    'https://h/x',
    'h:99999/x',
    'h:/x',
    'h:5000:6000/x',
    'h:-1/x',
    '-h/x',
    'h-/x',
    'h..i/x',
    '[::1/x',
    '[]/x',
    '[::g]/x',
    'u@h/x',
    'h/X',
    'h/a___b',
    'h/a..b',
    'h/a._b',
    'h/_a',
    'h/a_',
    'h/x:',
    'h/x:.t',
    `h/x:${'t'.repeat(129)}`,
    'h/x:t:u',
    'h/x@',
    'h/x@sha256:../../x',
    `h/x@${DIGEST.toUpperCase()}`,
    `h/x@${DIGEST}@${DIGEST}`,
    'h/x\n',
    'h/x\0',
    'h/\u001b[31m',
    'h/é',
    'h/x?y=z',
    'h/x#y',
    'h/x%2e%2e',
    `h/${'a'.repeat(254)}`,
    `h/${'a/'.repeat(5000)}a`,
  ];
  for (const text of bad) it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () => refused(() => parseReference(text)));
});

describe('references as people type them', () => {
  const completed: [string, string][] = [
    ['redis', 'docker.io/library/redis:latest'],
    ['redis:alpine', 'docker.io/library/redis:alpine'],
    ['user/app', 'docker.io/user/app:latest'],
    ['index.docker.io/redis', 'docker.io/library/redis:latest'],
    ['docker.io/redis', 'docker.io/library/redis:latest'],
    ['docker.io/library/redis:alpine', 'docker.io/library/redis:alpine'],
    ['localhost/x', 'localhost/x:latest'],
    ['localhost:5000/x', 'localhost:5000/x:latest'],
    ['quay.io/a/b/c:1', 'quay.io/a/b/c:1'],
    [`redis@${DIGEST}`, `docker.io/library/redis@${DIGEST}`],
  ];
  for (const [typed, full] of completed) {
    it(`makes ${full} of ${typed}`, () => assert.equal(formatReference(completeReference(typed)), full));
  }
  for (const text of ['', ':tag', 'Redis', 'a//b', 'https://docker.io/redis', '../x', 'x@sha256:1']) {
    it(`refuses ${JSON.stringify(text)}`, () => refused(() => completeReference(text)));
  }
});

describe('objects', () => {
  it('prefers the digest', () => assert.equal(objectOf(parseReference(`h/x:t@${DIGEST}`)), DIGEST));
  it('refuses a reference with neither', () => refused(() => objectOf(parseReference('h/x'))));
});

it('any text is either refused or comes out as it went in', () => {
  const alphabet = fc.constantFrom(
    'a',
    'Z',
    '0',
    '.',
    '_',
    '-',
    '/',
    ':',
    '@',
    '[',
    ']',
    '%',
    ' ',
    '\n',
    'é',
    'sha256:',
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(alphabet, { maxLength: 60 }).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (candidate) => {
      let parsed: ReturnType<typeof parseReference>;
      try {
        parsed = parseReference(candidate);
      } catch (error) {
        return hasCode(error, 'INVALID_ARGUMENT');
      }
      return formatReference(parsed) === candidate && !candidate.includes('..');
    }),
    { numRuns: 50_000 },
  );
});

it('takes linear time on long hostile input', () => {
  const started = process.cpuUsage().user;
  for (const piece of ['a-', 'a_', '[:', ':@', '/a', '--']) {
    for (let round = 0; round < 100; round++) refused(() => parseReference(`h/${piece.repeat(250_000)}`));
  }
  assert.ok(process.cpuUsage().user - started < 1_000_000);
});
