import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Ctr, eventually } from '../harness/index.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld } from './world.js';

const { daemon, image, own, pulled } = await startWorld(['busybox']);

for (const snapshotter of SNAPSHOTTERS) {
  describe(`ctr tasks on ${snapshotter}`, () => suite(snapshotter));
}

/** Prints a number every 50 ms. */
const COUNTER = 'i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.05; done';

function suite(snapshotter: Snapshotter): void {
  const namespace = own(`tasks-${snapshotter}`);
  let ctr: Ctr;
  before(async () => {
    ctr = await pulled(namespace, snapshotter, 'busybox');
  });

  const ready = join(daemon.directory, `ready-${snapshotter}`);

  /**
   * Starts a task in the background; resolves when it has set its traps. It
   * ends with 9 on SIGTERM and with 10 on SIGHUP.
   */
  async function start(id: string, script = COUNTER, ...options: readonly string[]): Promise<void> {
    await mkdir(ready, { recursive: true });
    const mount = ['--mount', `type=bind,src=${ready},dst=/ready,options=rbind:rw`];
    const whole = `trap "exit 9" TERM; trap "exit 10" HUP; : >/ready/${id}; ${script}`;
    await ctr.ok('run', '-d', '--snapshotter', snapshotter, ...mount, ...options, image.busybox, id, 'sh', '-c', whole);
    await eventually(`task "${id}" is at work`, () => existsSync(join(ready, id)) || undefined);
  }

  async function status(id: string): Promise<string | undefined> {
    return (await ctr.rows('tasks', 'ls')).find(([found]) => found === id)?.[2];
  }

  const becomes = (id: string, wanted: string): Promise<true> =>
    eventually(`task "${id}" is ${wanted}`, async () => ((await status(id)) === wanted ? true : undefined));

  async function remove(id: string): Promise<void> {
    await ctr.run(['tasks', 'kill', '--signal', 'SIGKILL', id]);
    await becomes(id, 'STOPPED');
    await ctr.ok('tasks', 'rm', id);
    await ctr.ok('containers', 'rm', id);
  }

  after(async () => {
    const left = (await ctr.ok('containers', 'ls', '--quiet')).trim();
    assert.equal(left, '', 'every test removes its containers');
  });

  test('run -d, ls, ps, kill and rm with the exit code', async () => {
    await start('life');
    const [row] = await ctr.rows('tasks', 'ls');
    assert.deepEqual([row?.[0], row?.[2]], ['life', 'RUNNING']);
    const pid = row?.[1] ?? '';
    assert.match(await readFile(`/proc/${pid}/cmdline`, 'utf8'), /^sh\0-c\0trap/);
    const pids = (await ctr.rows('tasks', 'ps', 'life')).map(([found]) => found);
    assert.ok(pids.includes(pid));
    assert.ok(pids.every((found) => existsSync(`/proc/${found}`) || found !== pid));

    assert.match(await ctr.fails('tasks', 'rm', 'life'), /must be stopped before deletion/);
    assert.match(await ctr.fails('containers', 'rm', 'life'), /cannot delete a non stopped container/);
    await ctr.ok('tasks', 'kill', 'life');
    await becomes('life', 'STOPPED');
    const { code, stderr } = await ctr.run(['tasks', 'rm', 'life']);
    assert.equal(code, 0);
    assert.match(stderr, /task life exit with non-zero exit code 9/);
    assert.equal(await status('life'), undefined);
    await ctr.ok('containers', 'rm', 'life');
    assert.match(await ctr.fails('tasks', 'kill', 'life'), /not found/);
  });

  test('exec passes input, output and the exit code', async () => {
    await start('exec', 'sleep 1000', '--env', 'OWN=1');
    const { stdout, stderr, code } = await ctr.run([
      ...['tasks', 'exec', '--exec-id', 'one', '--cwd', '/tmp', '--user', 'alice', 'exec'],
      ...['sh', '-c', 'echo $OWN; pwd; id -u; echo err >&2; exit 4'],
    ]);
    assert.deepEqual({ stdout, stderr, code }, { stdout: '1\n/tmp\n1000\n', stderr: 'err\n', code: 4 });

    const reader = ctr.start('tasks', 'exec', '--exec-id', 'two', 'exec', 'sh', '-c', 'echo ready; cat');
    await reader.stdout.until(/ready/);
    reader.write('typed\n');
    await reader.stdout.until(/typed/);
    const taken = await ctr.run(['tasks', 'exec', '--exec-id', 'two', 'exec', 'true']);
    assert.match(taken.stderr, /two.*already exists|already exists.*two/);
    reader.closeInput();
    assert.equal((await reader.end()).code, 0);

    const missing = await ctr.run(['tasks', 'exec', '--exec-id', 'three', 'exec', '/no/such/program']);
    assert.notEqual(missing.code, 0);
    assert.match(missing.stderr, /no\/such\/program/);
    await remove('exec');
  });

  test('exec -t has a terminal', async () => {
    await start('exec-t', 'sleep 1000');
    const running = ctr.startInTerminal('tasks', 'exec', '-t', '--exec-id', 'one', 'exec-t', 'sh', '-c', 'tty; exit 6');
    const { stdout, code } = await running.end();
    assert.match(stdout, /\/dev\/pts\/\d+\r/);
    assert.equal(code, 6);
    await remove('exec-t');
  });

  test('ps shows the processes of an exec', async () => {
    await start('ps', 'sleep 1000');
    const running = ctr.start('tasks', 'exec', '--exec-id', 'shown', 'ps', 'sh', '-c', 'echo ready; read line');
    await running.stdout.until(/ready/);
    assert.match(await ctr.ok('tasks', 'ps', 'ps'), /^\d+ +.*shown/m);
    running.write('\n');
    await running.end();
    await remove('ps');
  });

  test('pause freezes, resume thaws', async () => {
    await start('frozen');
    await ctr.ok('tasks', 'pause', 'frozen');
    assert.equal(await status('frozen'), 'PAUSED');
    assert.equal(await freezer(namespace, 'frozen'), true);
    await ctr.ok('tasks', 'resume', 'frozen');
    assert.equal(await status('frozen'), 'RUNNING');
    assert.equal(await freezer(namespace, 'frozen'), false);
    await remove('frozen');
  });

  test('metrics are those of the cgroup', async () => {
    await start('measured');
    const metrics = JSON.parse(await ctr.ok('tasks', 'metrics', '--format', 'json', 'measured'));
    assert.ok(Number(metrics.pids.current) >= 1, JSON.stringify(metrics.pids));
    const memory = Number(metrics.memory.usage?.usage ?? metrics.memory.usage);
    assert.ok(memory > 4096 && memory < 100 << 20, `${memory} bytes`);
    const table = await ctr.ok('tasks', 'metrics', 'measured');
    assert.match(table, /^measured +\d{4}-\d\d-\d\d/m);
    assert.match(table, /^(pids\.current|memory\.usage(_in_bytes)?) +\d+/m);
    await remove('measured');
  });

  test('attach shows what a running task prints, and ends with its exit code', async () => {
    await start('attached');
    const attached = ctr.start('tasks', 'attach', 'attached');
    await attached.stdout.until(/count \d+\ncount \d+\n/);
    await ctr.ok('tasks', 'kill', 'attached');
    assert.equal((await attached.end()).code, 9);
    await ctr.run(['tasks', 'rm', 'attached']);
    await ctr.ok('containers', 'rm', 'attached');
  });

  test('kill of a process that is gone, of all processes, and with a signal by name', async () => {
    await start('killed');
    await ctr.ok('tasks', 'kill', '--signal', 'HUP', 'killed');
    await becomes('killed', 'STOPPED');
    assert.match((await ctr.run(['tasks', 'rm', 'killed'])).stderr, /exit code 10/);
    await ctr.ok('containers', 'rm', 'killed');
    await start('all', COUNTER);
    await ctr.ok('tasks', 'kill', '--all', '--signal', 'SIGKILL', 'all');
    await becomes('all', 'STOPPED');
    assert.match((await ctr.run(['tasks', 'rm', 'all'])).stderr, /exit code 137/);
    await ctr.ok('containers', 'rm', 'all');
  });

  test('rm --force ends a running task', async () => {
    await start('forced');
    await ctr.run(['tasks', 'rm', '--force', 'forced']);
    assert.equal(await status('forced'), undefined);
    await ctr.ok('containers', 'rm', 'forced');
  });

  test('a container is started a second time', async () => {
    await ctr.ok('containers', 'create', '--snapshotter', snapshotter, image.busybox, 'again');
    assert.deepEqual(await outcome('again'), ['x\n', 2]);
    assert.deepEqual(await outcome('again'), ['x\nx\n', 2]);
    await ctr.ok('containers', 'rm', 'again');
  });

  async function outcome(id: string): Promise<[string, number | undefined]> {
    const { stdout, code } = await ctr.run(['tasks', 'start', id], { input: 'echo x >>/log; cat /log; exit 2\n' });
    await ctr.run(['tasks', 'rm', id]);
    return [stdout, code];
  }
}

/** What the kernel says about a container's cgroup, on cgroup v1 (freezer.state) or v2 (cgroup.events). */
async function freezer(namespace: string, id: string): Promise<boolean> {
  const old = `/sys/fs/cgroup/freezer/${namespace}/${id}/freezer.state`;
  if (existsSync(old)) return (await readFile(old, 'utf8')).trim() === 'FROZEN';
  return /^frozen 1$/m.test(await readFile(`/sys/fs/cgroup/${namespace}/${id}/cgroup.events`, 'utf8'));
}
