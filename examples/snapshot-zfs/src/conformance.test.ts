import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { snapshotterConformance } from 'keelson/conformance/snapshotter';
import { can } from './index.js';
import { filePool, startZfs } from './pool.js';
import { openSnapshotter } from './snapshotter.js';
import { destroy, zfs } from './zfs.js';

let directory = '';
let pool = '';
const resources = new AsyncDisposableStack();
let made = 0;
/** The dataset of each directory. */
const datasets = new Map<string, string>();

before(async () => {
  directory = await mkdtemp(join(process.env.KEELSON_TEST_DIR ?? tmpdir(), 'keelson-zfs-'));
  resources.defer(() => rm(directory, { recursive: true }));
  resources.use(await startZfs());
  pool = resources.use(await filePool(directory)).name;
});
after(() => resources.disposeAsync());

snapshotterConformance(
  { describe, it },
  {
    name: 'snapshot-zfs',
    unavailable: async () => (process.getuid?.() === 0 ? undefined : 'needs root'),
    can,
    async directory() {
      const name = `d${made++}`;
      const path = await mkdtemp(join(directory, `${name}-`));
      await zfs('create', '-o', 'mountpoint=none', `${pool}/${name}`);
      datasets.set(join(path, 'root'), `${pool}/${name}`);
      return {
        path,
        async [Symbol.asyncDispose]() {
          await destroy(`${pool}/${name}`);
          await rm(path, { recursive: true });
        },
      };
    },
    async open(root) {
      const snapshotter = await openSnapshotter({ dataset: datasets.get(root) ?? '', root, warn: () => undefined });
      return { snapshotter, close: () => snapshotter.close() };
    },
  },
);
