import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Change, withTerminal } from '../../lib/oci/runtime-spec.js';
import { busyboxRootfs, Fifos, Reader, specOf, Writer } from '../../test/conformance/container.js';
import { Background, type Outcome, run } from '../../test/harness/command.js';
import { eventually } from '../../test/harness/eventually.js';
import { runcSubject, supervisorsBelow } from '../../test/harness/runc.js';
import { scratch } from '../../test/harness/scratch.js';

const program = fileURLToPath(new URL('./main.js', import.meta.url));
const skip = (await runcSubject().unavailable()) ?? false;

const onTerminal = (args: readonly string[]): string =>
  `stty rows 31 cols 97 && exec ${[process.execPath, ...args].map((word) => `'${word}'`).join(' ')}`;

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
    spec: (script: string, ...changes: readonly Change[]) =>
      writeFile(join(bundle, 'config.json'), specOf(namespace, 'one', script, ...changes).value),
    shim: (...args: string[]): Promise<Outcome> => run(process.execPath, [...flags, ...args]),
    background: (...args: string[]): Background => new Background(process.execPath, [...flags, ...args]),
    /** On a terminal of its own, 31 rows by 97 columns. */
    inTerminal: (...args: string[]): Background =>
      new Background('script', ['--quiet', '--return', '--command', onTerminal([...flags, ...args]), '/dev/null'], {
        env: { SHELL: '/bin/sh', TERM: 'xterm' },
      }),
    typing: (input: string, ...args: string[]): Promise<Outcome> =>
      run(process.execPath, [...flags, ...args], { input }),
    async [Symbol.asyncDispose]() {
      await eventually('no supervisor', async () =>
        (await supervisorsBelow(directory.path)).length === 0 ? true : undefined,
      );
      await directory[Symbol.asyncDispose]();
    },
  };
}

type SetUp = Awaited<ReturnType<typeof setUp>>;

/** Ends the task and removes it. */
async function end({ shim }: SetUp): Promise<void> {
  await ok(shim('kill', '--signal', 'KILL', 'one'));
  assert.equal((await shim('wait', 'one')).code, 137);
  assert.equal(await ok(shim('delete', 'one')), '137');
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

  it('gives a task a terminal, resizes it, and that of an exec', async () => {
    await using setup = await setUp();
    const { shim, spec, bundle, path } = setup;
    await spec('stty size; while read line; do echo "<$line>"; stty size; done', withTerminal);
    const fifos = await Fifos.make(join(path, 'fifos'));
    const reader = new Reader(fifos.stdout);
    const streams = ['--tty', '--stdin', fifos.stdin, '--stdout', fifos.stdout];
    await ok(shim('create', '--bundle', bundle, ...streams, 'one'));
    await ok(shim('pty', 'one', '91', '37'));
    await ok(shim('start', 'one'));
    await eventually('the first size', () => (reader.text.includes('37 91') ? true : undefined));
    await ok(shim('pty', 'one', '120', '50'));
    const writer = new Writer(fifos.stdin);
    writer.write('hello\n');
    await eventually('the second size', () => (/<hello>\r\n50 120\r\n/.test(reader.text) ? true : undefined));
    assert.match((await shim('pty', 'one', '0', '50')).stderr, /number of cells/);
    assert.match((await shim('pty', '--exec-id', 'none', 'one', '80', '24')).stderr, /exec "none" .* does not exist/);
    writer.write('\x04');
    assert.equal((await shim('wait', 'one')).code, 0);
    await reader.all();
    await writer.end();
    await ok(shim('delete', 'one'));
  });

  it('executes on a terminal of its own size, passes keys and the exit code on, and is resized by others', async () => {
    await using setup = await setUp();
    const { shim, spec, bundle, path, inTerminal } = setup;
    await spec('exec sleep 600');
    await ok(shim('create', '--bundle', bundle, 'one'));
    await ok(shim('start', 'one'));
    const script = 'stty size; tty; read a; echo "got $a"; read b; stty size; exit 9';
    const flags = ['--tty', '--exec-id', 'shell', '--fifo-dir', join(path, 'exec')];
    await using running = inTerminal('exec', ...flags, 'one', 'sh', '-c', script);
    await running.stdout.until(/31 97\r+\n\/dev\/(pts\/\d+|console)/);
    running.write('word\r');
    await running.stdout.until(/got word/);
    await ok(shim('pty', '--exec-id', 'shell', 'one', '66', '22'));
    running.write('on\r');
    const { stdout, code } = await running.end();
    assert.match(stdout, /22 66/);
    assert.equal(code, 9);
    assert.deepEqual(await readdir(join(path, 'exec')), [], 'its streams are gone');
    await end(setup);
  });

  it('ends the input of an exec with its own, and of any process when told to', async () => {
    await using setup = await setUp();
    const { shim, spec, bundle, path, typing } = setup;
    await spec('cat; echo end; exit 4');
    const fifos = await Fifos.make(join(path, 'fifos'));
    const reader = new Reader(fifos.stdout);
    await ok(shim('create', '--bundle', bundle, '--stdin', fifos.stdin, '--stdout', fifos.stdout, 'one'));
    await ok(shim('start', 'one'));
    const executed = await typing(
      'typed\n',
      'exec',
      '--fifo-dir',
      join(path, 'exec'),
      'one',
      'sh',
      '-c',
      'cat; exit 3',
    );
    assert.deepEqual([executed.stdout, executed.code], ['typed\n', 3]);

    const writer = new Writer(fifos.stdin);
    writer.write('given\n');
    await eventually('it has arrived', () => (reader.text === 'given\n' ? true : undefined));
    await ok(shim('close-stdin', 'one'));
    assert.equal(JSON.parse(await ok(shim('state', 'one'))).status, 'RUNNING', 'a client is still there');
    writer.write('more\n');
    await writer.end();
    assert.equal((await shim('wait', 'one')).code, 4);
    assert.equal(await reader.all(), 'given\nmore\nend\n');
    assert.equal(await ok(shim('delete', 'one')), '4');
  });
});
