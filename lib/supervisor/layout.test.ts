import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { scratch } from '../../test/harness/scratch.js';
import { findUntold, hasUntold, supervisorDirectory, UNTOLD_PREFIX, writeIdentity } from './layout.js';

it('tells whose a supervisor is without a moment at which it does not', async () => {
  await using place = await scratch('layout');
  const file = join(place.path, 'group');
  writeIdentity(place.path, { namespace: 'n', group: 'n' });
  await using before = await open(file);
  writeIdentity(place.path, { namespace: 'n', group: 'n' });
  assert.equal(statSync(file).ino, (await before.stat()).ino, 'the same is not written again');
  writeIdentity(place.path, { namespace: 'n', group: 'n/pod' });
  assert.equal(await before.readFile('utf8'), 'n\nn\n', 'what was there is not overwritten');
  assert.equal(readFileSync(file, 'utf8'), 'n\nn/pod\n');
});

it('finds supervisors that have exits to tell', async () => {
  await using place = await scratch('layout');
  assert.deepEqual(findUntold(place.path), []);
  for (const group of ['a', 'b']) {
    const directory = supervisorDirectory(place.path, group);
    assert.equal(hasUntold(directory), false);
    mkdirSync(directory, { recursive: true });
    writeIdentity(directory, { namespace: 'n', group });
  }
  writeFileSync(join(supervisorDirectory(place.path, 'b'), `${UNTOLD_PREFIX}1`), '');
  assert.deepEqual(findUntold(place.path), [{ namespace: 'n', group: 'b' }]);
});
