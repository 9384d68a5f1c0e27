import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import { eventually } from '../../test/harness/eventually.js';
import { scratch } from '../../test/harness/scratch.js';
import { copyTree } from './jobs.js';

/** Milliseconds: a little more than a thread without work is kept. */
const LATER = 31_000;

const threads = (): number => readdirSync('/proc/self/task').length;

test('a thread ends when there was no work for it for some time, and another is there for the next', async () => {
  await using directory = await scratch('jobs');
  const [from, first, second] = ['from', 'first', 'second'].map((name) => join(directory.path, name));
  for (const path of [from, first, second]) mkdirSync(path ?? '');
  mock.timers.enable({ apis: ['setTimeout'] });
  await copyTree(from ?? '', first ?? '');
  const busy = threads();
  mock.timers.tick(LATER);
  mock.timers.reset();
  await eventually('the thread has ended', async () => (threads() < busy ? true : undefined));
  await copyTree(from ?? '', second ?? '');
});
