/** The daemon is killed while containers run: they go on, and the next daemon has them all. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Ctr, eventually } from '../harness/index.js';
import { SNAPSHOTTERS, type Snapshotter, startWorld } from './world.js';

const { daemon, image, own, pulled } = await startWorld(['busybox', 'debian']);

for (const snapshotter of SNAPSHOTTERS) {
  describe(`restart on ${snapshotter}`, () => suite(snapshotter));
}

/** Counts on stdout and in a file; ends with 9 on SIGTERM, and with what is written to /shared/stop. */
const COUNTER = `trap "exit 9" TERM; i=0
while :; do i=$((i+1)); echo "count $i"; echo "$i" >>/shared/log; [ ! -e /shared/stop ] || exit $(cat /shared/stop); sleep 0.02; done`;

function suite(snapshotter: Snapshotter): void {
  /** Starts the counter in a container of its own namespace; resolves when it counts. */
  async function counting(name: string): Promise<{ ctr: Ctr; shared: string; pid: string }> {
    const ctr = await pulled(own(`restart-${name}-${snapshotter}`), snapshotter, 'busybox');
    const shared = join(daemon.directory, `${name}-${snapshotter}`);
    await mkdir(shared);
    const mount = `type=bind,src=${shared},dst=/shared,options=rbind:rw`;
    const flags = ['run', '-d', '--snapshotter', snapshotter, '--mount', mount];
    await ctr.ok(...flags, image.busybox, 'counter', 'sh', '-c', COUNTER);
    await eventually('the counter counts', () => existsSync(join(shared, 'log')) || undefined);
    return { ctr, shared, pid: (await task(ctr))[1] ?? '' };
  }

  const task = async (ctr: Ctr): Promise<readonly string[]> =>
    (await ctr.rows('tasks', 'ls')).find(([id]) => id === 'counter') ?? [];

  const counted = async (shared: string): Promise<number> => (await stat(join(shared, 'log'))).size;

  async function goesOn(shared: string): Promise<void> {
    const before = await counted(shared);
    await eventually('the counter goes on', async () => ((await counted(shared)) > before + 20 ? true : undefined));
  }

  async function remove(ctr: Ctr, code: number): Promise<void> {
    await eventually('the task has ended', async () => ((await task(ctr))[2] === 'STOPPED' ? true : undefined));
    const { stderr } = await ctr.run(['tasks', 'rm', 'counter']);
    assert.match(stderr, new RegExp(`exit code ${code}\\b`));
    await ctr.ok('containers', 'rm', 'counter');
    assert.deepEqual(await ctr.rows('containers', 'ls'), []);
  }

  test('after SIGKILL the container goes on; the new daemon lists it, attaches, and returns its exit code', async () => {
    const { ctr, shared, pid } = await counting('killed');
    await daemon.kill();
    await goesOn(shared);
    await daemon.start();
    assert.deepEqual(await task(ctr), ['counter', pid, 'RUNNING']);
    await goesOn(shared);

    const attached = ctr.start('tasks', 'attach', 'counter');
    await attached.stdout.until(/count \d+\ncount \d+\n/);
    const { stdout, code } = await ctr.run([
      'tasks',
      'exec',
      '--exec-id',
      'later',
      'counter',
      'sh',
      '-c',
      'echo in; exit 4',
    ]);
    assert.deepEqual([stdout, code], ['in\n', 4]);
    await ctr.ok('tasks', 'kill', 'counter');
    assert.equal((await attached.end()).code, 9); // and `attach` removes the task it saw end
    await ctr.ok('containers', 'rm', 'counter');
  });

  test('an exit while no daemon ran is not lost', async () => {
    const { ctr, shared, pid } = await counting('ended');
    await daemon.kill();
    await writeFile(join(shared, 'stop'), '42');
    await eventually('the process ends', async () => {
      const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      return state === '' || / Z /.test(state) ? true : undefined;
    });
    await daemon.start();
    await remove(ctr, 42);
  });

  test('an exec is found again, and so is the exit of a container that SIGTERM left running', async () => {
    const { ctr, shared, pid } = await counting('stopped');
    const executing = ctr.start('tasks', 'exec', '--exec-id', 'long', 'counter', 'sh', '-c', 'echo ready; sleep 1000');
    await executing.stdout.until(/ready/);
    assert.equal((await daemon.stop())?.code, 0);
    await goesOn(shared);
    await executing.stop('SIGKILL'); // left to itself, it may wait for a daemon for a minute
    await daemon.start();
    assert.deepEqual(await task(ctr), ['counter', pid, 'RUNNING']);
    assert.match(await ctr.ok('tasks', 'ps', 'counter'), /long/);
    await ctr.ok('tasks', 'kill', '--exec-id', 'long', '--signal', 'SIGKILL', 'counter');
    await eventually('the exec is gone', async () =>
      /long/.test(await ctr.ok('tasks', 'ps', 'counter')) ? undefined : true,
    );
    await ctr.ok('tasks', 'kill', 'counter');
    await remove(ctr, 9);
  });

  test('killed in the middle of a pull, the next pull succeeds and leaves nothing half done', async () => {
    const ctr = daemon.ctr(own(`restart-pull-${snapshotter}`));
    const pull = ['images', 'pull', '--plain-http', '--snapshotter', snapshotter, image.debian];
    const keys = async (): Promise<string[]> =>
      (await ctr.rows('snapshots', '--snapshotter', snapshotter, 'ls')).map(([key = '']) => key);
    const first = ctr.start(...pull);
    await eventually('a layer is being unpacked', async () =>
      (await keys()).some((key) => key.startsWith('extract-')) ? true : undefined,
    );
    await daemon.kill();
    await first.stop('SIGKILL');
    await daemon.start();
    await ctr.ok(...pull);
    assert.match(await ctr.ok('images', 'check', '--snapshotter', snapshotter), /complete \(6\/6\).* true/);
    await ctr.ok('images', 'rm', '--sync', image.debian);
    for (const [lease = ''] of await ctr.rows('leases', 'ls')) await ctr.ok('leases', 'rm', '--sync', lease);
    assert.deepEqual(await keys(), []);
    assert.deepEqual(await ctr.rows('content', 'active'), []);
    assert.equal(await ctr.ok('content', 'ls', '--quiet'), '');
  });
}
