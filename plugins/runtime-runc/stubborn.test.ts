/** Containers that make it hard to remove what is mounted for them: attack 85 of docs/reliability.md. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { mountAll, mountsWithin, unmountAll } from '../../lib/linux/mount.js';
import { type Change, withCapabilities, withMounts } from '../../lib/oci/runtime-spec.js';
import { scope, Workbench } from '../../test/conformance/runtime.workbench.js';
import { succeed } from '../../test/harness/command.js';
import { runcSubject } from '../../test/harness/runc.js';

const skip = (await runcSubject().unavailable()) ?? false;

/** Whatever the container mounts in its root filesystem or below `/shared` is mounted for the host too. */
const shared = (directory: string): readonly Change[] => [
  withCapabilities(['CAP_SYS_ADMIN'], []),
  withMounts([{ destination: '/shared', type: 'bind', source: directory, options: ['rbind', 'rshared'] }]),
  (spec) => ({ ...spec, linux: { ...spec.linux, rootfsPropagation: 'rshared' } }),
];

const rootfsOf = (bench: Workbench): string => {
  const mounts = mountsWithin(bench.work).map(({ target }) => target);
  return mounts.find((target) => target.endsWith('/rootfs')) ?? assert.fail(`no root filesystem in ${mounts.join()}`);
};

describe('a container is deleted, and nothing of it stays mounted,', { skip }, () => {
  it('also what it has mounted for the host; what it mounted in a directory of the host stays', async () => {
    await using bench = await Workbench.open(runcSubject());
    const directory = join(bench.work, 'host');
    mkdirSync(directory);
    mountAll([{ type: 'bind', source: directory, target: '', options: ['bind', 'rshared'] }], directory);
    await using places = new AsyncDisposableStack();
    places.defer(async () => void (await unmountAll(directory)));
    const script = `mkdir -p /shared/m /own && busybox mount -t tmpfs theirs /shared/m && busybox mount -t tmpfs own /own
      touch /shared/m/kept; exec sleep 600`;
    const task = await bench.run(script, { changes: shared(directory) });
    await task.exec('e', 'until [ -e /shared/m/kept ]; do usleep 5000; done');
    await task.start('e');
    assert.equal(await task.wait('e'), 0);
    await task.end();
    assert.deepEqual(readdirSync(join(directory, 'm')), ['kept']);
    await unmountAll(directory);
    assert.deepEqual(mountsWithin(bench.work), []);
    assert.deepEqual(bench.runtime.tasks(scope.namespace), []);
  });

  it('while somebody has a file of it open, and a file of it cannot be removed', async () => {
    await using bench = await Workbench.open(runcSubject());
    const task = await bench.run('echo here >/file; echo here >/fixed; exec sleep 600');
    await task.exec('e', 'until [ -s /fixed ]; do usleep 5000; done');
    await task.start('e');
    assert.equal(await task.wait('e'), 0);
    const fixed = join(bench.work, 'busybox/fixed');
    await succeed('chattr', ['+i', fixed]);
    const file = openSync(join(rootfsOf(bench), 'file'), 'r');
    try {
      await task.end();
      assert.deepEqual(mountsWithin(bench.work), []);
      assert.equal(existsSync(fixed), true, 'it is not ours to remove');
      assert.deepEqual(bench.runtime.tasks(scope.namespace), []);
      await bench.create('true', {}, task.id);
    } finally {
      closeSync(file);
      await succeed('chattr', ['-i', fixed]);
    }
  });
});
