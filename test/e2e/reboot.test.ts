/** The machine goes down and comes up again: all that lay in /run is gone, with processes, mounts and control groups. */
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { test } from 'node:test';
import { eventually, removeCgroups, succeed } from '../harness/index.js';
import { supervisorsBelow } from '../harness/runc.js';
import { startWorld } from './world.js';

const env = { KEELSON_TEST_BOOT_ID: 'before' };
const { daemon, image, own, pulled } = await startWorld(['busybox'], { kind: 'keelsond', env });

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** What a reboot does to a daemon, without one. */
async function reboot(namespace: string, pids: readonly number[]): Promise<void> {
  await daemon.kill();
  const processes = [...(await supervisorsBelow(daemon.directory)), ...pids];
  for (const pid of processes) process.kill(pid, 'SIGKILL');
  await eventually('its processes have ended', () => (processes.some(isAlive) ? undefined : true));
  const script = 'cut -d" " -f2 /proc/mounts | grep -F "$1/" | sort -r | xargs --no-run-if-empty umount';
  await succeed('sh', ['-c', script, 'sh', daemon.state]);
  await removeCgroups(namespace);
  await rm(daemon.state, { recursive: true });
  await mkdir(daemon.state, { mode: 0o711 });
  env.KEELSON_TEST_BOOT_ID = 'after';
  await daemon.start();
}

test('containers are there without tasks, and start again on the files that they had', async () => {
  const namespace = own('reboot');
  const ctr = await pulled(namespace, 'overlayfs', 'busybox');
  const script = 'echo "start $(($(wc -l </log)+1))" >>/log; sync; trap "exit 0" TERM; while :; do sleep 0.05; done';
  await ctr.ok('run', '-d', image.busybox, 'c', 'sh', '-c', `touch /log; ${script}`);
  let reads = 0;
  const log = (): Promise<string> => ctr.ok('tasks', 'exec', '--exec-id', `read-${reads++}`, 'c', 'cat', '/log');
  await eventually('it has written', async () => ((await log()) === 'start 1\n' ? true : undefined));
  const [[, pid = ''] = []] = await ctr.rows('tasks', 'ls');
  await reboot(namespace, [Number(pid)]);

  assert.deepEqual(await ctr.rows('tasks', 'ls'), []);
  assert.deepEqual(
    (await ctr.rows('containers', 'ls')).map(([id]) => id),
    ['c'],
  );
  await ctr.ok('tasks', 'start', '-d', 'c');
  await eventually('it has gone on', async () => ((await log()) === 'start 1\nstart 2\n' ? true : undefined));
  await ctr.ok('tasks', 'kill', 'c');
  await eventually('it has ended', async () => /STOPPED/.test(await ctr.ok('tasks', 'ls')) || undefined);
  await ctr.ok('tasks', 'rm', 'c');
  await ctr.ok('containers', 'rm', 'c');
  assert.equal(await ctr.ok('run', '--rm', image.busybox, 'another', 'echo', 'usable'), 'usable\n');
});
