import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { knownEscapes } from './known-escapes.js';

/** Of a version: what lets containers out. */
const of = (version: string, name = 'runc'): string[] =>
  knownEscapes({ name, version, revision: '' })
    .filter(({ breaksOut }) => breaksOut)
    .map(({ advisory }) => advisory);

/** Of a version: what is told of, but does not. */
const lesser = (version: string): string[] =>
  knownEscapes({ name: 'runc', version, revision: '' })
    .filter(({ breaksOut }) => !breaksOut)
    .map(({ advisory }) => advisory);

describe('known escapes', () => {
  it('are those not mended in the line of the version', () => {
    assert.deepEqual(of('1.0.0-rc6'), [
      'CVE-2019-5736',
      'CVE-2021-30465',
      'CVE-2024-21626',
      'CVE-2025-31133',
      'CVE-2025-52565',
      'CVE-2025-52881',
    ]);
    assert.equal(of('1.0.0-rc8').includes('CVE-2019-5736'), false);
    assert.equal(of('1.1.5+ds1').includes('CVE-2024-21626'), true);
    assert.deepEqual(of('1.1.12'), ['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881']);
    assert.equal(of('1.2.7').length, 3);
    assert.deepEqual(of('1.2.8'), []);
    assert.equal(of('1.3.0').length, 3);
    assert.deepEqual(of('1.3.3'), []);
    assert.equal(of('1.4.0-rc.2').length, 3);
    assert.deepEqual(of('1.4.0-rc.3'), []);
    assert.deepEqual(of('1.4.0'), []);
    assert.deepEqual(of('1.5.1'), []);
  });

  it('are told apart from what does not let a container out', () => {
    for (const version of ['1.1.12', '1.2.9', '1.3.5', '1.4.2', '1.5.0-rc.2']) {
      assert.deepEqual(lesser(version), ['CVE-2026-41579'], version);
    }
    for (const version of ['1.3.6', '1.4.3', '1.5.0-rc.3', '1.5.0', '1.6.0']) {
      assert.deepEqual(lesser(version), [], version);
    }
  });

  it('are not known of other programs', () => {
    assert.deepEqual(of('1.0.0', 'crun'), []);
    assert.deepEqual(of(''), []);
    assert.deepEqual(of('unknown'), []);
  });
});
