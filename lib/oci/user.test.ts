import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveUser } from './user.js';

const files = {
  passwd: 'root:x:0:0:root:/root:/bin/sh\nredis:x:999:1000::/home/redis:/bin/sh\n1000:x:0:0::/:/bin/sh\nbroken\n',
  group: 'root:x:0:\nredis:x:1000:\nextra:x:2000:other,redis\nbig:x:4294967296:redis\n',
};

describe('resolveUser', () => {
  it('is root when nothing is said', () => {
    assert.deepEqual(resolveUser('', files), { uid: 0, gid: 0 });
  });

  it('finds a name with its group and supplementary groups', () => {
    assert.deepEqual(resolveUser('redis', files), { uid: 999, gid: 1000, additionalGids: [1000, 2000] });
  });

  it('finds the groups of a number that passwd knows', () => {
    assert.deepEqual(resolveUser('999', files), { uid: 999, gid: 1000, additionalGids: [1000, 2000] });
  });

  it('takes an unknown number as it is', () => {
    assert.deepEqual(resolveUser('1234', files), { uid: 1234, gid: 0, additionalGids: [0] });
  });

  it('never looks a number up as a name', () => {
    assert.equal(resolveUser('1000', files).uid, 1000);
  });

  it('takes an explicit group by name or number', () => {
    assert.deepEqual(resolveUser('redis:extra', files), { uid: 999, gid: 2000, additionalGids: [2000] });
    assert.deepEqual(resolveUser('7:8', files), { uid: 7, gid: 8, additionalGids: [8] });
  });

  const refused = ['2147483648', '4294967296', '-1000', `1${'0'.repeat(36)}`, '0:2147483648', `0:1${'0'.repeat(36)}`];
  for (const user of refused) {
    it(`refuses ${user}, which would wrap around (CVE-2024-40635)`, () => {
      const passwd = `${user}:x:0:0::/:/bin/sh\n`;
      assert.throws(() => resolveUser(user, { passwd, group: '' }), /out of range/);
    });
  }

  for (const user of ['nobody', 'redis:nobody', ':', 'a:b:c', 'redis:']) {
    it(`refuses "${user}"`, () => {
      assert.throws(() => resolveUser(user, files), { code: 'INVALID_ARGUMENT' });
    });
  }
});
