/** The README's main command, as it stands in the tree. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Background, imageLayout, type Registry, run, startRegistry } from '../harness/index.js';

const script = fileURLToPath(new URL('../../../examples/quickstart/run.sh', import.meta.url));

const leftovers = async (): Promise<string[]> =>
  (await readdir('/tmp')).filter((name) => name.startsWith('keelson-quickstart-'));

describe('quickstart', () => {
  let registry: Registry;
  let reference: string;
  let others: string[];

  before(async () => {
    others = await leftovers();
    registry = await startRegistry();
    reference = await registry.push(await imageLayout('busybox'), 'quickstart');
  });
  after(() => registry[Symbol.asyncDispose]());

  test('makes an image, pulls it, runs it, and leaves nothing', async () => {
    const { stdout, stderr, code } = await run('sh', [script], { timeout: 120_000 });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^layer [0-9a-f]{12} extracted$/m);
    assert.match(stdout, /^Hello from a container, process 1 of /m);
    assert.match(stdout, /^BusyBox v/m);
    assert.deepEqual(await leftovers(), others);
  });

  test('pulls and runs what it is told, and passes its exit code', async () => {
    const { stdout, code } = await run('sh', [script, reference, 'sh', '-c', 'echo told; exit 3'], {
      timeout: 120_000,
    });
    assert.match(stdout, /^told$/m);
    assert.equal(code, 3);
    assert.deepEqual(await leftovers(), others);
  });

  // Its clean-up and `ctr run --rm` both end the container: several turns, so that each is the quicker one.
  for (const [moment, turns] of [
    ['== A daemon', 1],
    ['== dist pull', 1],
    ['== ctr run', 3],
    ['waiting', 3],
  ] as const)
    test(`interrupted at "${moment}", it leaves nothing either`, async () => {
      for (let turn = 0; turn < turns; turn++) {
        const command = [script, reference, 'sh', '-c', 'echo waiting; sleep 1000'];
        await using running = new Background('setsid', ['sh', ...command]);
        await running.stdout.until(new RegExp(`^${moment}`, 'm'), 120_000);
        process.kill(-running.pid, 'SIGINT');
        assert.notEqual((await running.end()).code, 0);
        assert.deepEqual(await leftovers(), others);
      }
    });

  test('says what is wrong with an image that is not there, and leaves nothing', async () => {
    const { stderr, code } = await run('sh', [script, `${registry.host}/missing:latest`], { timeout: 120_000 });
    assert.notEqual(code, 0);
    assert.match(stderr, /missing:latest/);
    assert.deepEqual(await leftovers(), others);
  });
});
