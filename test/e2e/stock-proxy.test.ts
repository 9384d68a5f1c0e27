/** Debian's containerd with our snapshotters in its `[proxy_plugins]`: the snapshotter kit, a pull and a container. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, describe, it, test } from 'node:test';
import { connect } from '../../client/index.js';
import type { Snapshotter } from '../../kernel/contracts/snapshots.js';
import { invalidArgument, unimplemented } from '../../kernel/errors.js';
import { overClient } from '../conformance/snapshotter.doors.js';
import { snapshotterConformance } from '../conformance/snapshotter.js';
import { Daemon, scratch } from '../harness/index.js';
import { startWorld } from './world.js';

const lender = await Daemon.start({ kind: 'keelsond' });
after(() => lender[Symbol.asyncDispose]());

const LENT = [
  { id: 'overlayfs', can: { renameParentsDirectory: false, writeThroughParentsHardlinks: false } },
  { id: 'native', can: { renameParentsDirectory: true, writeThroughParentsHardlinks: true } },
];

const config = LENT.map(
  ({ id }) => `[proxy_plugins.keelson-${id}]\ntype = "snapshot"\naddress = "${lender.address}"\n`,
).join('');

const { daemon, image, own } = await startWorld(['busybox'], { kind: 'containerd', config });

/**
 * What containerd 1.6 keeps to itself on the way: it does not know the parent
 * of a commit, has no Cleanup for proxies, and names no code for an empty key.
 */
function asStock(snapshotter: Snapshotter): Snapshotter {
  const named = <T>(key: string, work: () => Promise<T>): Promise<T> =>
    key === '' ? Promise.reject(invalidArgument('key required')) : work();
  return {
    ...snapshotter,
    capabilities: [],
    prepare: (key, parent, labels) => named(key, () => snapshotter.prepare(key, parent, labels)),
    view: (key, parent, labels) => named(key, () => snapshotter.view(key, parent, labels)),
    async commit(name, key, { labels = {}, parent } = {}) {
      const own = parent === undefined ? parent : (await snapshotter.stat(key)).parent;
      if (own === '' && parent !== '') throw unimplemented('containerd 1.6 cannot rebase');
      if (own !== parent) throw invalidArgument('it was prepared on another parent');
      return named(name, () => snapshotter.commit(name, key, { labels }));
    },
    cleanup: async () => undefined,
  };
}

for (const { id, can } of LENT) {
  const snapshotter = `keelson-${id}`;
  // Each check has a namespace of its own in place of a directory.
  const namespaces = new Map<string, string>();
  const namespaceOf = (root: string): string => {
    const namespace = namespaces.get(root) ?? `kit-${id}-${namespaces.size}`;
    namespaces.set(root, namespace);
    return namespace;
  };
  snapshotterConformance(
    { describe, it },
    {
      name: `${id}, by stock containerd's proxy`,
      unavailable: async () => undefined,
      can: { ...can, rebase: false, exactTimes: true },
      directory: () => scratch('stock-proxy'),
      async open(root) {
        const client = connect({ address: daemon.address, namespace: namespaceOf(root) });
        const close = async (): Promise<void> => client[Symbol.dispose]();
        return { snapshotter: asStock(await overClient(client, snapshotter, [])), close };
      },
    },
  );

  test(`an image is pulled, and a container runs, on ${snapshotter}`, async () => {
    const ctr = daemon.ctr(own(`lent-${id}`));
    const flags = ['--snapshotter', snapshotter];
    await ctr.ok('images', 'pull', '--plain-http', ...flags, image.busybox);
    const { stdout, stderr, code } = await ctr.run([
      'run',
      '--rm',
      ...flags,
      image.busybox,
      'c',
      'sh',
      '-c',
      'echo lent; cat /proc/mounts',
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^lent\n/);
    if (id === 'overlayfs') assert.ok(stdout.includes(lender.root), 'the root filesystem lies in our directories');
    // A collection here takes nothing of the other daemon's.
    const mine = lender.ctr(own('collect'));
    await mine.ok('leases', 'create', '--id', 'x');
    await mine.ok('leases', 'delete', '--sync', 'x');
    const again = await ctr.run(['run', '--rm', ...flags, image.busybox, 'c', 'echo', 'still here']);
    assert.equal(again.stdout, 'still here\n', again.stderr);
    assert.ok(!(await readFile('/proc/self/mountinfo', 'utf8')).includes(`${ctr.namespace}/c/rootfs`));
  });
}
