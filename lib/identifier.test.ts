import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasCode } from '../kernel/errors.js';
import { checkIdentifier } from './identifier.js';

describe('identifiers', () => {
  for (const good of ['a', '0', 'default', 'k8s.io', 'plugins.moby', 'A_b-c.9', 'a'.repeat(76)]) {
    it(`takes "${good}"`, () => assert.equal(checkIdentifier(good, 'namespace'), good));
  }
  for (const bad of ['', '.', '..', 'a/b', 'a..b', '-a', 'a-', 'a_-b', 'a'.repeat(77), 'ä', 'a\n', 'a b', '\0']) {
    it(`refuses ${JSON.stringify(bad)}`, () => {
      assert.throws(
        () => checkIdentifier(bad, 'namespace'),
        (error) => hasCode(error, 'INVALID_ARGUMENT'),
      );
    });
  }
});
