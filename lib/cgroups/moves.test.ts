import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { expectMove, moveToOwnPlace } from './moves.js';

const groups = (): string => readFileSync('/proc/self/cgroup', 'utf8');

test('a process that is moved to where it is stays there, in every hierarchy', async () => {
  const before = groups();
  await moveToOwnPlace();
  assert.equal(groups(), before);
});

test('moves may be expected at any time, and many at once', async () => {
  const before = groups();
  for (let count = 0; count < 100; count += 1) expectMove();
  await moveToOwnPlace();
  assert.equal(groups(), before);
});
