/** Debian's `containerd-shim-runc-v2` under our daemon, driven by Debian's `ctr`. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { z } from 'zod';
import { TaskOOM } from '../../api/gen/events/task.js';
import { Any } from '../../client/index.js';
import { launcherPath } from '../../lib/program.js';
import { packAny } from '../../lib/rpc/any.js';
import { shimsDirectory } from '../../lib/supervisor/layout.js';
import { busyboxRootfs } from '../conformance/container.js';
import { removeCgroups } from '../harness/daemon.js';
import { type Background, type Ctr, Daemon, eventually, run, scratch } from '../harness/index.js';
import { supervisorsBelow } from '../harness/runc.js';

const SHIM = '/usr/bin/containerd-shim-runc-v2';
/** The daemon runs this name through its own supervisors unless it is told otherwise. */
const RUNC = 'io.containerd.runc.v2';

const COUNTER = 'trap "exit 9" TERM; i=0; while :; do i=$((i+1)); echo "count $i"; usleep 50000; done';

/** Process ids of the stock shims of one daemon. */
function shimsOf({ address }: Daemon): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return command[0] === SHIM && command.includes(address) ? [Number(pid)] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

const place = await scratch('stock');
const rootfs = join(place.path, 'busybox');
await busyboxRootfs(rootfs);
after(() => place[Symbol.asyncDispose]());

async function start(name: string, config: string): Promise<{ daemon: Daemon; ctr: Ctr }> {
  const daemon = await Daemon.start({ kind: 'keelsond', config });
  const ctr = daemon.ctr(`stock-${name}-${process.pid}`);
  after(async () => {
    await eventually('the shims have ended', async () => (shimsOf(daemon).length === 0 ? true : undefined));
    // The stock shim leaves both by habit.
    await removeCgroups(ctr.namespace);
    await rm(join('/run/containerd/runc', ctr.namespace), { recursive: true, force: true });
    await daemon[Symbol.asyncDispose]();
  });
  return { daemon, ctr };
}

const flags = (runtime: string): string[] => ['--runtime', runtime, '--env', 'PATH=/bin', '--rootfs', rootfs];

describe('which runtime a name means', async () => {
  const { daemon, ctr } = await start('names', '');

  test('that of runc means our supervisor, the path of a shim that shim', async () => {
    await ctr.ok('run', '-d', ...flags(RUNC), 'ours', 'sleep', '600');
    assert.deepEqual([shimsOf(daemon).length, (await supervisorsBelow(daemon.directory)).length], [0, 1]);
    await ctr.ok('run', '-d', ...flags(SHIM), 'stock', 'sleep', '600');
    assert.deepEqual([shimsOf(daemon).length, (await supervisorsBelow(daemon.directory)).length], [1, 1]);
    const tasks = (await ctr.rows('tasks', 'ls')).map(([id, , status]) => [id, status]);
    assert.deepEqual(tasks.sort(), [
      ['ours', 'RUNNING'],
      ['stock', 'RUNNING'],
    ]);
    for (const id of ['ours', 'stock']) await remove(ctr, id);
  });

  test('checkpoint works where criu does, and says why not elsewhere, with either', async () => {
    const criuWorks = (await run('criu', ['check'])).code === 0;
    for (const [id, runtime] of [
      ['cp-ours', RUNC],
      ['cp-stock', SHIM],
    ] as const) {
      await ctr.ok('run', '-d', ...flags(runtime), id, 'sleep', '600');
      const { code, stderr } = await ctr.run(['tasks', 'checkpoint', id]);
      assert.equal(code === 0, criuWorks, stderr);
      if (!criuWorks) assert.match(stderr, /criu failed/i);
      if (!criuWorks && runtime === RUNC) assert.match(stderr, /criu\/\S+\.c:\d+/);
      assert.equal(await status(ctr, id), 'RUNNING');
      await remove(ctr, id);
    }
  });

  test('a name that nobody serves says which program is missing', async () => {
    const unknown = await ctr.fails('run', '--rm', ...flags('io.containerd.no-such.v1'), 'none', 'true');
    assert.match(unknown, /containerd-shim-no-such-v1/);
    const climbing = await ctr.fails('run', '--rm', ...flags('../../x'), 'none', 'true');
    assert.match(climbing, /"\.\.\/\.\.\/x"/);
    assert.deepEqual(await ctr.rows('containers', 'ls'), []);
  });
});

async function status(ctr: Ctr, id: string): Promise<string | undefined> {
  return (await ctr.rows('tasks', 'ls')).find(([found]) => found === id)?.[2];
}

const becomes = (ctr: Ctr, id: string, wanted: string | undefined): Promise<true> =>
  eventually(`task "${id}" is ${wanted}`, async () => ((await status(ctr, id)) === wanted ? true : undefined));

async function remove(ctr: Ctr, id: string): Promise<void> {
  await ctr.run(['tasks', 'kill', '--signal', 'SIGKILL', id]);
  await becomes(ctr, id, 'STOPPED');
  await ctr.ok('tasks', 'rm', id);
  await ctr.ok('containers', 'rm', id);
}

/** Topics of the events about one task so far. */
const topicsOf = (listener: Background, id: string): string[] =>
  listener.stdout.text
    .split('\n')
    .filter((line) => line.includes(`"container_id":"${id}"`))
    .map((line) => / \/tasks\/(\S+)/.exec(line)?.[1] ?? '');

describe('the stock shim', async () => {
  const config = '[plugins.runtime-runc.config]\nnames = ["io.containerd.keelson.v1"]\n';
  const { daemon, ctr } = await start('shim', config);
  const runtime = flags(RUNC);

  /** A listener whose subscription stands. */
  async function listen(): Promise<Background> {
    const listener = ctr.start('events');
    await eventually('the subscription stands', async () => {
      await ctr.ok('namespaces', 'create', `${ctr.namespace}-knock`);
      await ctr.ok('namespaces', 'rm', `${ctr.namespace}-knock`);
      return listener.stdout.text.includes('-knock') || undefined;
    });
    return listener;
  }

  test('run passes input, output and exit codes', async () => {
    for (const code of [0, 5]) {
      const script = `echo ready; cat; echo err >&2; exit ${code}`;
      const running = ctr.start('run', '--rm', ...runtime, `r${code}`, 'sh', '-c', script);
      await running.stdout.until(/ready/);
      running.write('typed\n');
      await running.stdout.until(/typed/);
      running.closeInput();
      const outcome = await running.end();
      assert.deepEqual([outcome.code, outcome.stdout, outcome.stderr], [code, 'ready\ntyped\n', 'err\n']);
    }
    assert.deepEqual(shimsOf(daemon), []);
  });

  test('run -t gives a terminal', async () => {
    const args = ['run', '--rm', '-t', ...runtime, 'term', 'sh', '-c', 'sleep 0.5; stty size; exit 4'];
    const { code, stdout } = await ctr.startInTerminal(...args).end();
    assert.equal(code, 4);
    assert.match(stdout, /31 97/);
  });

  test('exec, ps, metrics, pause, resume, attach and kill, each told in an event', async () => {
    await using listener = await listen();
    await ctr.ok('run', '-d', ...runtime, 'all', 'sh', '-c', COUNTER);
    const executed = await ctr.run(['tasks', 'exec', '--exec-id', 'e', 'all', 'sh', '-c', 'echo in; exit 4']);
    assert.deepEqual([executed.code, executed.stdout], [4, 'in\n']);
    assert.match(await ctr.ok('tasks', 'ps', 'all'), /^\d+/m);
    assert.match(await ctr.ok('tasks', 'metrics', 'all'), /memory/);
    await ctr.ok('tasks', 'pause', 'all');
    assert.equal(await status(ctr, 'all'), 'PAUSED');
    await ctr.ok('tasks', 'resume', 'all');
    assert.equal(await status(ctr, 'all'), 'RUNNING');
    const attached = ctr.start('tasks', 'attach', 'all');
    await attached.stdout.until(/count \d+\ncount \d+\n/);
    await ctr.ok('tasks', 'kill', 'all');
    assert.equal((await attached.end()).code, 9); // and `attach` removes the task it saw end
    await ctr.ok('containers', 'rm', 'all');
    await listener.stdout.until(/\/tasks\/delete/);
    const topics = topicsOf(listener, 'all');
    assert.deepEqual(topics, [
      ...['create', 'start', 'exec-added', 'exec-started', 'exit', 'paused', 'resumed', 'exit', 'delete'],
    ]);
  });

  test('goes on without the daemon, and is found again', async () => {
    await ctr.ok('run', '-d', ...runtime, 'long', 'sh', '-c', COUNTER);
    await ctr.ok('run', '-d', ...runtime, 'short', 'sh', '-c', 'usleep 700000; exit 33');
    const shims = shimsOf(daemon).sort();
    const rows = await ctr.rows('tasks', 'ls');
    await daemon.kill();
    const pid = rows.find(([id]) => id === 'short')?.[1];
    await eventually('the short one has ended', async () => !existsSync(`/proc/${pid}`) || undefined);
    await daemon.start();
    assert.deepEqual(shimsOf(daemon).sort(), shims);
    assert.deepEqual(
      (await ctr.rows('tasks', 'ls')).sort(),
      rows.map(([id = '', number = '']) => [id, number, id === 'short' ? 'STOPPED' : 'RUNNING']).sort(),
    );
    assert.equal(await ctr.ok('tasks', 'exec', '--exec-id', 'later', 'long', 'echo', 'hello'), 'hello\n');
    assert.match((await ctr.run(['tasks', 'rm', 'short'])).stderr, /exit code 33/);
    await ctr.ok('containers', 'rm', 'short');
    await using listener = await listen();
    await ctr.ok('tasks', 'kill', 'long');
    await becomes(ctr, 'long', 'STOPPED');
    assert.match((await ctr.run(['tasks', 'rm', 'long'])).stderr, /exit code 9/);
    await ctr.ok('containers', 'rm', 'long');
    await listener.stdout.until(/\/tasks\/delete/);
    assert.deepEqual(topicsOf(listener, 'long'), ['exit', 'delete']);
  });

  test('that is killed is cleaned up after, its exit told once, its id free again', async () => {
    await using listener = await listen();
    await ctr.ok('run', '-d', ...runtime, 'orphan', 'sleep', '600');
    const pid = Number((await ctr.rows('tasks', 'ls'))[0]?.[1]);
    const bundle = join(shimsDirectory(daemon.state), ctr.namespace, 'orphan');
    const told = JSON.parse(await readFile(join(bundle, 'bootstrap.json'), 'utf8'));
    const socket = z.object({ address: z.string() }).parse(told).address.replace('unix://', '');
    assert.ok(existsSync(socket));
    for (const shim of shimsOf(daemon)) process.kill(shim, 'SIGKILL');
    await becomes(ctr, 'orphan', undefined);
    await eventually('the process has ended', async () => !existsSync(`/proc/${pid}`) || undefined);
    await listener.stdout.until(/\/tasks\/delete/);
    assert.deepEqual(topicsOf(listener, 'orphan'), ['create', 'start', 'exit', 'delete']);
    assert.match(listener.stdout.text, /\/tasks\/exit .*"exit_status":137/);
    await eventually('its socket is gone', async () => !existsSync(socket) || undefined);
    await ctr.ok('containers', 'rm', 'orphan');
    assert.equal(await ctr.ok('run', '--rm', ...runtime, 'orphan', 'echo', 'fine'), 'fine\n');
  });

  test('that was killed while no daemon ran is cleaned up after by the next one', async () => {
    await ctr.ok('run', '-d', ...runtime, 'lost', 'sleep', '600');
    const pid = Number((await ctr.rows('tasks', 'ls'))[0]?.[1]);
    await daemon.kill();
    for (const shim of shimsOf(daemon)) process.kill(shim, 'SIGKILL');
    await daemon.start();
    await becomes(ctr, 'lost', undefined);
    await eventually('the process has ended', async () => !existsSync(`/proc/${pid}`) || undefined);
    await ctr.ok('containers', 'rm', 'lost');
  });

  test('of old may tell events by `keelsond publish`', async () => {
    await using listener = await listen();
    const event = Any.encode(packAny(TaskOOM, { containerId: 'told' })).finish();
    const command = ['--namespace', ctr.namespace, '--topic', '/tasks/oom'];
    const keelsond = launcherPath('keelsond');
    for (const args of [
      ['--address', daemon.address, 'publish', ...command],
      ['publish', ...command, '--address', daemon.address],
    ]) {
      const outcome = await run(keelsond, args, { input: event });
      assert.deepEqual([outcome.code, outcome.stderr], [0, '']);
    }
    await eventually('both events', async () => topicsOf(listener, 'told').length === 2 || undefined);
    const broken = await run(keelsond, ['--address', daemon.address, 'publish', ...command], { input: '\xff\xff' });
    assert.deepEqual([broken.code, /no google\.protobuf\.Any/.test(broken.stderr)], [1, true]);
    const nowhere = await run(keelsond, ['--address', '/nowhere.sock', 'publish', ...command], { input: event });
    assert.equal(nowhere.code, 1);
  });
});
