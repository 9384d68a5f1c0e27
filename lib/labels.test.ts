import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../kernel/errors.js';
import { checkLabels, labelOf, updateLabels } from './labels.js';

const invalid = (error: unknown): boolean => hasCode(error, 'INVALID_ARGUMENT');

describe('labels', () => {
  it('may take 4096 bytes with their key, counted in UTF-8', () => {
    checkLabels({ k: 'v'.repeat(4095) });
    assert.throws(() => checkLabels({ k: 'v'.repeat(4096) }), invalid);
    assert.throws(() => checkLabels({ k: 'é'.repeat(2048) }), invalid);
  });

  it('replaces all without a mask, and drops empty values', () => {
    assert.deepEqual(updateLabels('x', { a: '1' }, { b: '2', c: '' }, undefined), { b: '2' });
    assert.deepEqual(updateLabels('x', { a: '1' }, {}, ['labels']), {});
  });

  it('touches only the keys of a mask', () => {
    const updated = updateLabels('x', { a: '1', b: '2' }, { a: '', 'c.d': '3', e: '4' }, ['labels.a', 'labels.c.d']);
    assert.deepEqual(updated, { b: '2', 'c.d': '3' });
  });

  it('refuses other paths', () => {
    for (const path of ['size', 'label', 'labelsx', '']) {
      assert.throws(() => updateLabels('content "x"', {}, {}, [path]), invalid);
    }
  });

  it('never reads or writes a prototype', () => {
    assert.equal(labelOf({}, 'constructor'), undefined);
    const updated = updateLabels('x', {}, JSON.parse('{"__proto__":"p"}'), ['labels.__proto__']);
    assert.equal(labelOf(updated, '__proto__'), 'p');
    assert.equal(Object.getPrototypeOf(updated), Object.prototype);
  });
});
