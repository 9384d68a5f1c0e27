/** `shim` on containers that a daemon has started, while that daemon does not run; the next one hears of it all. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Background, eventually, type Outcome, run } from '../harness/index.js';
import { startWorld } from './world.js';

const program = fileURLToPath(new URL('../../../bin/shim', import.meta.url));

const { daemon, image, own, pulled } = await startWorld(['busybox'], { kind: 'keelsond' });

/** Topics of lines that `events` has printed, each with the id of the process it is about. */
const topics = ({ stdout }: Background): string[] =>
  stdout.text
    .split('\n')
    .filter((line) => line.startsWith('/tasks/'))
    .map((line) => {
      const [topic = '', ...json] = line.split(' ');
      const about: { readonly id?: string; readonly execId?: string } = JSON.parse(json.join(' '));
      return `${topic.replace('/tasks/', '')} ${about.execId || about.id || ''}`.trim();
    });

test('a container is looked into, resized and ended while no daemon runs, and the next one knows its exit', async () => {
  const namespace = own('past');
  const ctr = await pulled(namespace, 'overlayfs', 'busybox');
  const flags = ['--state', daemon.state, '--namespace', namespace];
  const shim = (...args: string[]): Promise<Outcome> => run(program, [...flags, ...args]);
  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await shim(...args);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  const script = 'trap "exit 9" TERM; while :; do sleep 0.05; done';
  await ctr.ok('run', '-d', '--snapshotter', 'overlayfs', image.busybox, 'past', 'sh', '-c', script);
  const [, pid = ''] = (await ctr.rows('tasks', 'ls')).find(([id]) => id === 'past') ?? [];
  assert.equal((await daemon.stop())?.code, 0);

  await using events = new Background(program, [...flags, 'events', 'past']);
  assert.equal(String(JSON.parse(await ok('state', 'past')).pid), pid);
  const fifos = ['--fifo-dir', join(daemon.directory, 'past')];
  const executed = await shim('exec', ...fifos, '--exec-id', 'e', 'past', 'sh', '-c', 'echo in; exit 5');
  assert.deepEqual([executed.stdout, executed.code], ['in\n', 5]);
  const quoted = [
    program,
    ...flags,
    'exec',
    ...fifos,
    '--tty',
    '--exec-id',
    't',
    'past',
    'sh',
    '-c',
    'stty size; exit 6',
  ]
    .map((word) => `'${word}'`)
    .join(' ');
  const command = `stty rows 31 cols 97 && exec ${quoted}`;
  await using inTerminal = new Background('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { SHELL: '/bin/sh', TERM: 'xterm' },
  });
  const terminal = await inTerminal.end();
  assert.match(terminal.stdout, /31 97/);
  assert.equal(terminal.code, 6);
  await ok('kill', 'past');
  assert.equal((await shim('wait', 'past')).code, 9);
  await eventually('all events', () => (topics(events).includes('exit past') ? true : undefined));
  assert.deepEqual(topics(events), [
    ...['exec-added e', 'exec-started e', 'exit e'],
    ...['exec-added t', 'exec-started t', 'exit t', 'exit past'],
  ]);
  await events.stop('SIGKILL');

  await daemon.start();
  const { stderr } = await ctr.run(['tasks', 'rm', 'past']);
  assert.match(stderr, /exit code 9\b/);
  await ctr.ok('containers', 'rm', 'past');
  assert.match((await shim('state', 'past')).stderr, /does not exist|no bundle/);
});
