/** `keelson reload` under load: containers, their streams and calls of others go on while the stores beneath are restarted. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '../harness/index.js';
import { startWorld } from './world.js';

const KEELSON = fileURLToPath(new URL('../../../bin/keelson', import.meta.url));

const { daemon, image, own, pulled } = await startWorld(['busybox'], { kind: 'keelsond' });

const reload = (config: string) =>
  writeFile(daemon.config, config).then(() => run(KEELSON, ['--address', daemon.address, 'reload']));

test('content, metadata, snapshotter and runtime are restarted; a container runs on, is entered, and ends with its code', async () => {
  const ctr = await pulled(own('reload'), 'overlayfs', 'busybox');
  const script = 'i=0; while [ ! -e /stop ]; do i=$((i+1)); echo "line $i"; sleep 0.05; done; exit 9';
  const running = ctr.start('run', '--rm', image.busybox, 'c', 'sh', '-c', script);
  await running.stdout.until(/line 3\n/);
  const pid = async (): Promise<string | undefined> => (await ctr.rows('tasks', 'ls')).find(([id]) => id === 'c')?.[1];
  const before = await pid();
  assert.ok(before);

  const overlay = await reload('[plugins.snapshot-overlay.config]\nmount_options = ["volatile"]\n');
  assert.deepEqual([overlay.code, overlay.stdout], [0, 'restarted: snapshot-overlay\n'], overlay.stderr);

  const runtime = await reload('[plugins.runtime-runc.config]\nevent_grace = 7\n');
  assert.equal(runtime.code, 0, runtime.stderr);
  assert.match(runtime.stdout, /^restarted: .*runtime-runc/);
  assert.equal(await pid(), before, 'the same process');

  const [, reached = ''] = /line (\d+)\n$/.exec(running.stdout.text) ?? [];
  await running.stdout.until(new RegExp(`line ${Number(reached) + 10}\n`));
  const inside = await ctr.run(['tasks', 'exec', '--exec-id', 'x', 'c', 'touch', '/stop']);
  assert.equal(inside.code, 0, inside.stderr);
  const { stdout, code, stderr } = await running.end();
  assert.equal(code, 9, stderr);
  const lines = stdout.trimEnd().split('\n');
  assert.ok(
    lines.every((line, index) => line === `line ${index + 1}`),
    'no line is lost or told twice',
  );
});

test('the content store beneath everything is restarted between two containers', async () => {
  const ctr = await pulled(own('reload2'), 'overlayfs', 'busybox');
  await ctr.ok('run', '--detach', image.busybox, 'd', 'sleep', '1000');
  const path = join(daemon.root, 'elsewhere-not-used');
  const bad = await reload(`[plugins.content.config]\nnowhere = "${path}"\n`);
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /plugins\.content\.config\.nowhere: found unknown key/);
  const events = await reload('[plugins.events.config]\nqueue = 5000\n');
  assert.equal(events.code, 0, events.stderr);
  assert.match(events.stdout, /^restarted: .*\bevents\b.*\bmetadata\b/);
  assert.ok((await ctr.rows('tasks', 'ls')).some(([id, , status]) => id === 'd' && status === 'RUNNING'));
  const again = await ctr.run(['run', '--rm', image.busybox, 'e', 'echo', 'after']);
  assert.equal(again.stdout, 'after\n', again.stderr);
  await ctr.ok('tasks', 'kill', '--signal', 'SIGKILL', 'd');
  await ctr.ok('tasks', 'rm', '--force', 'd').catch(() => undefined);
  await ctr.ok('containers', 'rm', 'd');
});
