/** Parts of another process come and go with the configuration; and content and a differ are lent by one, to a whole daemon. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, run, scratch } from '../harness/index.js';
import { startWorld } from './world.js';

const BIN = fileURLToPath(new URL('../../../bin', import.meta.url));

const directory = await scratch('parts');
after(() => directory[Symbol.asyncDispose]());

/** A keelsond that lends its parts, at a socket of its own; whoever is told the command starts it. */
function lender(name: string): { readonly socket: string; readonly root: string; readonly command: string } {
  const place = join(directory.path, name);
  const socket = `${place}.s`;
  const flags = ['root', 'state'].flatMap((part) => [`--${part}`, join(place, part)]);
  const command = [join(BIN, 'keelsond'), ...flags, '--address', socket];
  return { socket, root: join(place, 'root'), command: JSON.stringify(command) };
}

/** What the snapshotter "native" of a keelsond is called by those it is lent to. */
const NAME = 'keelson-native';

const parts = lender('parts');

const config = `[plugins.content]
enabled = false

[plugins.differs.config]
default = ["lent-differ"]

[proxy_plugins.lent-content]
type = "content"
address = "${parts.socket}"
namespace = "lent"
connect_timeout = 20
command = ${parts.command}

[proxy_plugins.lent-differ]
type = "diff"
address = "${parts.socket}"
namespace = "lent"
connect_timeout = 20
`;

const { daemon, image, own, pulled } = await startWorld(['busybox'], { kind: 'keelsond', config });

async function reload(more: string): Promise<string> {
  await writeFile(daemon.config, config + more);
  const { stdout, stderr, code } = await run(join(BIN, 'keelson'), ['--address', daemon.address, 'reload']);
  assert.equal(code, 0, stderr);
  return stdout;
}

/** The process of a plugin, as `keelson plugins` tells it. */
async function processOf(name: string): Promise<number | undefined> {
  const { stdout } = await run(join(BIN, 'keelson'), ['--address', daemon.address, 'plugins']);
  const [, pid] = new RegExp(` ${name} .*running as process (\\d+)`).exec(stdout) ?? [];
  return pid === undefined ? undefined : Number(pid);
}

const ends = (pid: number) =>
  eventually(`process ${pid} is gone`, () => (existsSync(`/proc/${pid}`) ? undefined : true));

test('an image is pulled into content of another process, unpacked by its differ, and runs', async () => {
  const ctr = await pulled(own('parts'), 'overlayfs', 'busybox');
  const { stdout, stderr } = await ctr.run(['run', '--rm', image.busybox, 'c', 'echo', 'of lent parts']);
  assert.equal(stdout, 'of lent parts\n', stderr);
  const blobs = join(parts.root, 'io.containerd.content.v1.content/blobs/sha256');
  assert.ok(readdirSync(blobs).length >= 3, 'manifest, configuration and layer lie there');
});

test('a snapshotter with its process is added, changed and removed while the daemon runs', async () => {
  const ctr = daemon.ctr(own('added'));
  const isThere = async (): Promise<boolean> => (await ctr.rows('plugins', 'ls')).some(([, id]) => id === NAME);
  const { socket, root, command } = lender('added');
  const proxy = (delay: number) =>
    `\n[proxy_plugins.${NAME}]\ntype = "snapshot"\naddress = "${socket}"\nconnect_timeout = 20\nmax_restart_delay = ${delay}\ncommand = ${command}\n`;
  assert.equal(await isThere(), false);

  assert.equal(await reload(proxy(1)), `started: ${NAME}\n`);
  await ctr.ok('snapshots', '--snapshotter', NAME, 'prepare', 'key');
  const mounts = await ctr.ok('snapshots', '--snapshotter', NAME, 'mounts', '/t', 'key');
  assert.ok(mounts.includes(root), mounts);
  const first = await eventually('a process', () => processOf(NAME));

  assert.match(await reload(proxy(2)), new RegExp(`^restarted: ${NAME}\n`));
  await ends(first);
  assert.match(await ctr.ok('snapshots', '--snapshotter', NAME, 'ls'), /^key /m);
  await ctr.ok('snapshots', '--snapshotter', NAME, 'rm', 'key');
  const second = await eventually('another process', () => processOf(NAME));

  assert.equal(await reload(''), `stopped: ${NAME}\n`);
  await ends(second);
  assert.equal(await isThere(), false);
});
