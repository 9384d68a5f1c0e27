import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { busyboxRootfs, Fifos, Reader, specOf } from '../../test/conformance/container.js';
import { Background, type Outcome, run } from '../../test/harness/command.js';
import { eventually } from '../../test/harness/eventually.js';
import { runcSubject, supervisorsBelow } from '../../test/harness/runc.js';
import { scratch } from '../../test/harness/scratch.js';

const program = fileURLToPath(new URL('./main.js', import.meta.url));
const skip = (await runcSubject().unavailable()) ?? false;

async function setUp() {
  const directory = await scratch('shim');
  const bundle = join(directory.path, 'bundle');
  const namespace = `shim-cli-${process.pid}`;
  await mkdir(bundle);
  await busyboxRootfs(join(bundle, 'rootfs'));
  const flags = [program, '--state', join(directory.path, 'state'), '--namespace', namespace];
  return {
    path: directory.path,
    bundle,
    spec: (script: string) => writeFile(join(bundle, 'config.json'), specOf(namespace, 'one', script).value),
    shim: (...args: string[]): Promise<Outcome> => run(process.execPath, [...flags, ...args]),
    background: (...args: string[]): Background => new Background(process.execPath, [...flags, ...args]),
    async [Symbol.asyncDispose]() {
      await eventually('no supervisor', async () =>
        (await supervisorsBelow(directory.path)).length === 0 ? true : undefined,
      );
      await directory[Symbol.asyncDispose]();
    },
  };
}

async function ok(outcome: Promise<Outcome>): Promise<string> {
  const { code, stdout, stderr } = await outcome;
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

describe('shim', { skip }, () => {
  it('takes a bundle through its life without any daemon', async () => {
    await using setup = await setUp();
    const { shim, spec, bundle, path, background } = setup;
    await spec('echo started; trap "exit 6" TERM; while :; do usleep 10000; done');
    const fifos = await Fifos.make(join(path, 'fifos'));
    const reader = new Reader(fifos.stdout);
    const pid = await ok(shim('create', '--bundle', bundle, '--stdout', fifos.stdout, 'one'));
    assert.match((await shim('create', '--bundle', bundle, 'one')).stderr, /task "one" exists/);
    const events = background('events', 'one');
    assert.equal(JSON.parse(await ok(shim('state', 'one'))).status, 'CREATED');
    assert.equal(await ok(shim('start', 'one')), pid);
    await eventually('it has started', () => (reader.text === 'started\n' ? true : undefined));
    const state = JSON.parse(await ok(shim('state', 'one')));
    assert.deepEqual([state.status, String(state.pid)], ['RUNNING', pid]);
    assert.equal(await ok(shim('ps', 'one')).then((text) => text.split('\n').includes(pid)), true);

    const exec = await shim(
      'exec',
      '--fifo-dir',
      join(path, 'exec'),
      'one',
      'sh',
      '-c',
      'echo out; echo err >&2; exit 9',
    );
    assert.deepEqual([exec.code, exec.stdout, exec.stderr], [9, 'out\n', 'err\n']);
    await ok(shim('pause', 'one'));
    assert.match(await ok(shim('state', 'one')), /PAUSED/);
    await ok(shim('resume', 'one'));
    assert.match(await ok(shim('list', 'one')), /one\s+\d+\s+RUNNING/);
    assert.match((await shim('pty', 'one', '80', '24')).stderr, /no terminal/);
    assert.match((await shim('delete', 'one')).stderr, /is running/);

    await ok(shim('kill', 'one'));
    assert.equal((await shim('wait', 'one')).code, 6);
    assert.equal(await reader.all(), 'started\n');
    assert.equal(await ok(shim('delete', 'one')), '6');
    const topics = await eventually('all events', () => {
      const lines = events.stdout.text.split('\n').map((line) => line.split(' ')[0]);
      return lines.includes('/tasks/delete') ? lines.filter((topic) => topic !== '') : undefined;
    });
    assert.deepEqual(topics, [
      ...['/tasks/create', '/tasks/start', '/tasks/exec-added', '/tasks/exec-started', '/tasks/exit'],
      ...['/tasks/paused', '/tasks/resumed', '/tasks/exit', '/tasks/delete'],
    ]);
    await events.stop('SIGKILL');
    await ok(shim('exit', 'one'));
    assert.deepEqual(await readdir(join(path, 'state/io.containerd.runtime.v2.task')), [
      '.runtime',
      '.s',
      `shim-cli-${process.pid}`,
    ]);
    assert.match((await shim('state', 'one')).stderr, /task "one" has no bundle/);
  });
});
