import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { throughGrpc, throughKernel } from '../../test/conformance/snapshotter.doors.js';
import { snapshotterConformance } from '../../test/conformance/snapshotter.js';
import { filesystemMissing, loopFilesystem } from '../../test/harness/loop.js';
import { openBtrfs } from './btrfs.js';

const can = { rebase: false, renameParentsDirectory: true, writeThroughParentsHardlinks: true, exactTimes: true };
const unavailable = () => filesystemMissing('btrfs');

snapshotterConformance(
  { describe, it },
  {
    name: 'snapshot-btrfs',
    unavailable,
    can,
    directory: () => loopFilesystem('btrfs'),
    async open(root) {
      const snapshotter = await openBtrfs(root, { warn: () => undefined });
      return { snapshotter, close: () => snapshotter.close() };
    },
  },
);

// The doors share one filesystem: its subvolumes go with it.
const shared = new AsyncDisposableStack();
after(() => shared.disposeAsync());
let filesystem: Promise<string> | undefined;

async function makeFilesystem(): Promise<string> {
  return shared.use(await loopFilesystem('btrfs', { megabytes: 2048 })).path;
}

const door = {
  unavailable,
  can,
  async directory() {
    filesystem ??= makeFilesystem();
    const path = await mkdtemp(join(await filesystem, 'd-'));
    return { path, async [Symbol.asyncDispose]() {} };
  },
};
const provider = { plugin: 'snapshot-btrfs', wireId: 'btrfs' };

snapshotterConformance(
  { describe, it },
  { ...door, name: 'snapshot-btrfs through a kernel', open: (root) => throughKernel(provider, root) },
);

snapshotterConformance(
  { describe, it },
  { ...door, name: 'snapshot-btrfs over gRPC', open: (root) => throughGrpc(provider, root, []) },
);
