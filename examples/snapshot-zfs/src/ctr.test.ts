/** The plugin in a daemon that knows it by configuration alone, used by Debian's unmodified `ctr`. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { Daemon, imageLayout, startRegistry } from 'keelson/testing';
import { filePool, startZfs } from './pool.js';
import { destroy, zfs } from './zfs.js';

const package_ = dirname(import.meta.dirname);

describe('ctr --snapshotter zfs', () => {
  it('pulls an image and runs containers on it, also after a restart of the daemon', async () => {
    const directory = await mkdtemp(join(process.env.KEELSON_TEST_DIR ?? tmpdir(), 'keelson-zfs-'));
    await using resources = new AsyncDisposableStack();
    resources.defer(() => rm(directory, { recursive: true }));
    resources.use(await startZfs());
    const pool = resources.use(await filePool(directory));
    const dataset = `${pool.name}/keelson`;
    await zfs('create', '-o', 'mountpoint=none', dataset);
    const registry = resources.use(await startRegistry());
    const image = await registry.push(await imageLayout('busybox'), 'busybox');
    const config = `required_plugins = ["snapshot-zfs"]
[plugins.snapshot-zfs]
package = "keelson-snapshot-zfs"
config = { dataset = "${dataset}" }
`;
    const daemon = resources.use(
      await Daemon.start({ kind: 'keelsond', config, packages: { 'keelson-snapshot-zfs': package_ } }),
    );
    resources.defer(async () => {
      await daemon.stop();
      await destroy(dataset);
    });

    const ctr = daemon.ctr(`zfs-${process.pid}`);
    await ctr.ok('images', 'pull', '--plain-http', '--snapshotter', 'zfs', image);
    const run = (id: string, script: string): Promise<string> =>
      ctr.ok('run', '--rm', '--snapshotter', 'zfs', image, id, 'sh', '-c', script);
    const [text, root] = (await run('one', 'echo of zfs > /file; cat /file; grep " / " /proc/mounts')).split('\n');
    assert.equal(text, 'of zfs');
    assert.match(root ?? '', new RegExp(`^${dataset}/\\d+ / fuse\\.zfs rw`));
    assert.match(await zfs('list', '-H', '-r', '-o', 'origin', dataset), /@layer/);

    await daemon.stop();
    await daemon.start();
    assert.equal(
      await run('two', 'cat /file 2>&1; ls -d /bin/sh'),
      "cat: can't open '/file': No such file or directory\n/bin/sh\n",
    );
    const plugins = await ctr.rows('plugins', 'ls');
    assert.deepEqual(
      plugins.filter(([, id]) => id === 'zfs').map(([type, , , status]) => [type, status]),
      [['io.containerd.snapshotter.v1', 'ok']],
    );
  });
});
