/** Runs after every other test of the run: the machine is as it was before the first. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { z } from 'zod';
import { leaked, RUN_VARIABLE, traces } from '../harness/leaks.js';

const environment = z
  .object({ KEELSON_TEST_DIR: z.string(), KEELSON_TEST_BASELINE: z.string(), [RUN_VARIABLE]: z.string() })
  .parse(process.env);

test('the tests left no mount, loop device, process, cgroup, socket or file behind', async () => {
  const before = z.array(z.string()).parse(JSON.parse(await readFile(environment.KEELSON_TEST_BASELINE, 'utf8')));
  const after = await traces({ directory: environment.KEELSON_TEST_DIR, id: environment[RUN_VARIABLE] });
  assert.deepEqual(leaked(before, after), []);
});
