/** Debian's containerd with our supervisor as its runtime `io.containerd.keelson.v1`. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { busyboxRootfs } from '../conformance/container.js';
import { type Ctr, Daemon, eventually, scratch } from '../harness/index.js';
import { supervisorsBelow } from '../harness/runc.js';

const bin = fileURLToPath(new URL('../../../bin', import.meta.url));
const RUNTIME = 'io.containerd.keelson.v1';
const skip = existsSync('/usr/bin/containerd') ? false : 'needs containerd';

describe('containerd-shim-keelson-v1 under stock containerd', { skip }, async () => {
  const shimState = await scratch('shim');
  const env = { PATH: `${bin}:${process.env.PATH}`, KEELSON_SHIM_STATE: shimState.path };
  const daemon = await Daemon.start({ kind: 'containerd', env });
  const ctr: Ctr = daemon.ctr(`shim-${process.pid}`);
  const rootfs = join(shimState.path, 'busybox');
  await busyboxRootfs(rootfs);
  const flags = ['--runtime', RUNTIME, '--env', 'PATH=/bin', '--rootfs', rootfs];
  after(async () => {
    await daemon[Symbol.asyncDispose]();
    await eventually('no supervisor', async () =>
      (await supervisorsBelow(daemon.directory)).length === 0 ? true : undefined,
    );
    await shimState[Symbol.asyncDispose]();
  });

  async function remove(id: string): Promise<void> {
    await ctr.run(['tasks', 'kill', '--signal', 'SIGKILL', id]);
    await eventually('it has stopped', async () =>
      (await ctr.rows('tasks', 'ls')).some(([i, , s]) => i === id && s !== 'STOPPED') ? undefined : true,
    );
    await ctr.ok('tasks', 'rm', '--force', id);
    await ctr.ok('containers', 'rm', id);
  }

  test('runs containers, output and exit code passed through, one supervisor for all', async () => {
    for (const code of [0, 5]) {
      const outcome = await ctr.run([
        'run',
        '--rm',
        ...flags,
        `r${code}`,
        'sh',
        '-c',
        `echo out; echo err >&2; exit ${code}`,
      ]);
      assert.deepEqual([outcome.code, outcome.stdout, outcome.stderr], [code, 'out\n', 'err\n']);
    }
    await ctr.ok('run', '-d', ...flags, 'a', 'sleep', '600');
    await ctr.ok('run', '-d', ...flags, 'b', 'sleep', '600');
    assert.equal((await supervisorsBelow(daemon.directory)).length, 1);
    for (const id of ['a', 'b']) await remove(id);
  });

  test('serves exec, ps, metrics, pause, resume and kill', async () => {
    await ctr.ok('run', '-d', ...flags, 'c', 'sleep', '600');
    assert.equal(await ctr.ok('tasks', 'exec', '--exec-id', 'e', 'c', 'echo', 'hello'), 'hello\n');
    assert.equal((await ctr.run(['tasks', 'exec', '--exec-id', 'f', 'c', 'sh', '-c', 'exit 9'])).code, 9);
    assert.equal((await ctr.rows('tasks', 'ps', 'c')).length, 1);
    assert.match(await ctr.ok('tasks', 'metrics', 'c'), /memory/);
    await ctr.ok('tasks', 'pause', 'c');
    assert.equal((await ctr.rows('tasks', 'ls'))[0]?.[2], 'PAUSED');
    await ctr.ok('tasks', 'resume', 'c');
    await remove('c');
  });

  test('gives a terminal', async () => {
    const background = ctr.startInTerminal(
      'run',
      '--rm',
      '-t',
      ...flags,
      't',
      'sh',
      '-c',
      'sleep 0.5; stty size; exit 4',
    );
    const { code, stdout } = await background.ended;
    assert.equal(code, 4);
    assert.match(stdout, /31 97/);
  });

  test('goes on without containerd, and is found again', async () => {
    await ctr.ok('run', '-d', ...flags, 'long', 'sh', '-c', 'sleep 2; exit 33');
    await ctr.ok('run', '-d', ...flags, 'longer', 'sleep', '600');
    await daemon.kill();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await daemon.start();
    const rows = await ctr.rows('tasks', 'ls');
    assert.deepEqual(rows.map(([id, , status]) => [id, status]).sort(), [
      ['long', 'STOPPED'],
      ['longer', 'RUNNING'],
    ]);
    assert.match((await ctr.run(['tasks', 'rm', 'long'])).stderr, /exit code 33/);
    await ctr.ok('containers', 'rm', 'long');
    await remove('longer');
  });

  test('leaves containerd to clean up when it is killed', async () => {
    await ctr.ok('run', '-d', ...flags, 'orphan', 'sleep', '600');
    for (const pid of await supervisorsBelow(daemon.directory)) process.kill(pid, 'SIGKILL');
    await eventually('containerd has noticed', async () =>
      (await ctr.rows('tasks', 'ls')).length === 0 ? true : undefined,
    );
    await ctr.ok('containers', 'rm', 'orphan');
    const bundles = join(daemon.state, 'io.containerd.runtime.v2.task', ctr.namespace);
    await eventually('no bundle', async () => ((await readdir(bundles)).length === 0 ? true : undefined));
    assert.equal(await ctr.ok('run', '--rm', ...flags, 'again', 'echo', 'fine'), 'fine\n');
  });
});
