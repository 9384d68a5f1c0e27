/** The whole way of an author, from an empty directory outside the tree to a container on one's own snapshotter. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Background, succeed } from '../harness/command.js';
import { Ctr } from '../harness/ctr.js';
import { eventually } from '../harness/eventually.js';
import { imageLayout } from '../harness/images.js';
import { npm, outside, programIn } from '../harness/outside.js';
import { startRegistry } from '../harness/registry.js';
import { scratch } from '../harness/scratch.js';

describe('a first plugin', () => {
  it('is scaffolded, installed, tested with its kit, loaded by configuration alone, and runs a container', async () => {
    const { directory: installed, tarball } = await outside();
    await using directory = await scratch('first');
    await using resources = new AsyncDisposableStack();
    const place = join(directory.path, 'plugin');

    // scaffold
    await succeed(programIn(installed, 'keelson'), ['plugin', 'new', 'snapshot-first', '--directory', place]);

    // install: the tarball stands in for the registry's keelson
    await npm(place, 'install', tarball);
    await succeed(join(place, 'node_modules/.bin/tsc'), ['-p', place]);

    // its kit
    const env = { PATH: `${join(process.execPath, '..')}:${process.env.PATH}`, KEELSON_CONFORMANCE_REQUIRED: '1' };
    assert.match(await succeed('npm', ['test'], { cwd: place, env }), /^. pass [5-9]\d$/m);

    // published as its author would, installed beside the daemon's configuration
    const host = join(directory.path, 'host');
    await succeed('mkdir', [host]);
    await writeFile(join(host, 'package.json'), JSON.stringify({ private: true }));
    await npm(place, 'pack', '--pack-destination', host);
    await npm(host, 'install', tarball, join(host, 'keelson-snapshot-first-1.0.0.tgz'));

    // loaded by configuration alone
    const address = join(directory.path, 'd.sock');
    await writeFile(
      join(host, 'config.toml'),
      `disabled_plugins = ["snapshot-overlay", "snapshot-vfs", "snapshot-btrfs"]
root = "${directory.path}/root"
state = "${directory.path}/state"

[plugins.snapshot-first]
package = "keelson-snapshot-first"
required = true

[plugins.server-grpc.config]
address = "${address}"
`,
    );
    const daemon = resources.use(
      new Background(programIn(host, 'keelsond'), ['--config', join(host, 'config.toml')], { cwd: '/' }),
    );
    resources.defer(async () => void (await daemon.stop()));
    await daemon.stderr.until(/"ready"|ready/, 60_000);
    const keelson = programIn(host, 'keelson');
    const plugins = await succeed(keelson, ['--address', address, 'plugins']);
    assert.match(
      plugins,
      /io\.containerd\.snapshotter\.v1 +first +snapshot-first +ok .*package keelson-snapshot-first/,
    );

    // a container on it
    const registry = resources.use(await startRegistry());
    const image = await registry.push(await imageLayout('busybox'), 'busybox');
    const namespace = `first-${process.pid}`;
    const ctr = new Ctr({ address, namespace });
    await ctr.ok('images', 'pull', '--plain-http', '--snapshotter', 'first', image);
    const root = '/proc/self/mountinfo';
    const seen = await ctr.ok(
      'run',
      '--rm',
      '--snapshotter',
      'first',
      image,
      'c',
      'sh',
      '-c',
      `echo hello; cat ${root}`,
    );
    assert.match(seen, /^hello\n/);
    assert.ok(seen.includes('io.containerd.snapshotter.v1.first/snapshots/'), seen);
    await eventually('the container is gone', async () =>
      (await ctr.ok('tasks', 'ls', '-q')) === '' ? true : undefined,
    );
    await daemon.stop();
    assert.match(await readFile(join(place, 'README.md'), 'utf8'), /snapshot-first/);
  });
});
