/** A supervised process as our snapshotter, under a real daemon: a container runs on it, and it may die. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, run, scratch } from '../harness/index.js';
import { startWorld } from './world.js';

const BIN = fileURLToPath(new URL('../../../bin', import.meta.url));

const directory = await scratch('lender');
after(() => directory[Symbol.asyncDispose]());
const socket = join(directory.path, 's');
const flags = ['root', 'state'].flatMap((name) => [`--${name}`, join(directory.path, name)]);
const command = [join(BIN, 'keelsond'), ...flags, '--address', socket];

const config = `[proxy_plugins.keelson-native]
type = "snapshot"
address = "${socket}"
connect_timeout = 20
command = ${JSON.stringify(command)}

[proxy_plugins.hopeless]
type = "snapshot"
address = "${socket}.none"
connect_timeout = 0.2
max_restart_delay = 0.2
command = ["/bin/false"]

[proxy_plugins.absent]
type = "diff"
address = "${socket}.none"
`;

const { daemon, image, own } = await startWorld(['busybox'], { kind: 'keelsond', config });

/** What `keelson plugins` says of a plugin. */
async function line(name: string): Promise<string> {
  const { stdout } = await run(join(BIN, 'keelson'), ['--address', daemon.address, 'plugins']);
  return stdout.split('\n').find((row) => row.split(/\s{2,}/)[2] === name) ?? '';
}

test('an image is pulled, and a container runs, on a snapshotter in a process that the daemon keeps alive', async () => {
  const ctr = daemon.ctr(own('proxy'));
  const on = ['--snapshotter', 'keelson-native'];
  await ctr.ok('images', 'pull', '--plain-http', ...on, image.busybox);
  const first = await ctr.run(['run', '--rm', ...on, image.busybox, 'c', 'echo', 'by proxy']);
  assert.equal(first.stdout, 'by proxy\n', first.stderr);

  const pid = Number(/running as process (\d+), 0 restarts/.exec(await line('keelson-native'))?.[1]);
  assert.ok(pid > 0);
  process.kill(pid, 'SIGKILL');
  await eventually('the process is back', async () =>
    /running as process \d+, 1 restarts/.test(await line('keelson-native')) ? true : undefined,
  );
  const again = await ctr.run(['run', '--rm', ...on, image.busybox, 'c', 'echo', 'again']);
  assert.equal(again.stdout, 'again\n', again.stderr);
});

test('a process that always ends is started again, ever later, and says so; calls are UNAVAILABLE', async () => {
  const state = await eventually('several restarts', async () => {
    const found = await line('hopeless');
    return /restart ([3-9]|\d\d+) in 0\.2 s/.test(found) ? found : undefined;
  });
  assert.match(state, / ok .*ended with exit code 1; restart \d+ in 0\.2 s/);
  const ctr = daemon.ctr(own('hopeless'));
  assert.match(
    await ctr.fails('snapshots', '--snapshotter', 'hopeless', 'prepare', 'a'),
    /"hopeless" does not answer at/,
  );
  assert.match(await line('absent'), /io\.containerd\.differ\.v1 +absent .* ok /);
});
