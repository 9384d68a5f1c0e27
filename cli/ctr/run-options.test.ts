import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pairs, parseBytes, parseMount } from './run-options.js';
import { parseSignal } from './signals.js';

describe('options of run', () => {
  it('read mounts', () => {
    assert.deepEqual(parseMount('type=bind,src=/a,dst=/b,options=rbind:ro'), {
      type: 'bind',
      source: '/a',
      destination: '/b',
      options: ['rbind', 'ro'],
    });
  });

  for (const text of ['src=/a', 'type=bind,nonsense', 'type=bind,dest=/b', '']) {
    it(`refuse the mount "${text}"`, () => {
      assert.throws(() => parseMount(text), { code: 'INVALID_ARGUMENT' });
    });
  }

  it('read sizes', () => {
    assert.equal(parseBytes('67108864'), 67_108_864);
    assert.equal(parseBytes('64m'), 67_108_864);
    assert.equal(parseBytes('1.5G'), 1_610_612_736);
    for (const text of ['', '-1', '5x', '1e9', '0']) assert.throws(() => parseBytes(text));
  });

  it('read pairs, values holding anything', () => {
    assert.deepEqual(pairs('label', ['a=b=c', 'd=']), { a: 'b=c', d: '' });
    assert.throws(() => pairs('label', ['=x']), { code: 'INVALID_ARGUMENT' });
  });
});

describe('parseSignal', () => {
  it('takes names in any form and numbers', () => {
    for (const text of ['SIGTERM', 'term', 'TERM', '15']) assert.equal(parseSignal(text), 15);
  });

  for (const text of ['0', '65', '-1', 'SIGFOO', '']) {
    it(`refuses "${text}"`, () => {
      assert.throws(() => parseSignal(text), { code: 'INVALID_ARGUMENT' });
    });
  }
});
