/** A power cut is played by damaging files and telling the next daemon that it is another boot. */
import assert from 'node:assert/strict';
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Content } from '../../kernel/contracts/content.js';
import { Diff } from '../../kernel/contracts/diff.js';
import { SnapshotDoubts, Snapshots } from '../../kernel/contracts/snapshots.js';
import { digestOf } from '../../lib/digest.js';
import { withMounts } from '../../lib/linux/mount.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import { OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { archive, dir, file } from '../../test/hostile/tar.js';

const SCOPE = { namespace: 'n' };
/** No collection takes it. */
const ROOT = { 'containerd.io/gc.root': 'yes' };
const BOOT = 'KEELSON_TEST_BOOT_ID';
const LAYERS = [
  archive(dir('etc/'), file('etc/base', 'of the base'), file('etc/both', 'below')),
  archive(dir('etc/'), file('etc/both', 'above')),
];
const CHAIN = chainIds(LAYERS.map((bytes) => digestOf(bytes)));

const start = (directory: string, snapshotter: string, boot: string): Promise<TestKernel> => {
  process.env[BOOT] = boot;
  const plugins = ['content', 'events', 'metadata', 'diff', 'differs', snapshotter];
  return startTestKernel({ plugins, directory });
};

/** As a client unpacks: the blob into content, then Prepare, Apply, Commit. */
async function unpack(kernel: TestKernel, name: string): Promise<void> {
  const [content, snapshots, diff] = [kernel.get(Content), kernel.get(Snapshots), kernel.get(Diff)];
  for (const [index, bytes] of LAYERS.entries()) {
    const blob = gzipSync(bytes);
    const digest = digestOf(blob);
    const writer = await content.writer(SCOPE, { ref: digest });
    await writer.write(blob);
    await writer.commit({ labels: { 'containerd.io/uncompressed': digestOf(bytes), ...ROOT } });
    const key = `extract ${index}`;
    const mounts = await snapshots.prepare(SCOPE, name, key, CHAIN[index - 1] ?? '', ROOT);
    await diff.apply(SCOPE, { mediaType: OCI_LAYER_GZIP, digest, size: blob.length }, { mounts });
    await snapshots.commit(SCOPE, name, CHAIN[index] ?? '', key, { labels: ROOT });
  }
}

const place = (directory: string, name: string): string => join(directory, `root/io.containerd.snapshotter.v1.${name}`);

/** Power fails before the flush in the background is recorded, if it was. */
function unflushed(directory: string, name: string): void {
  using records = new DatabaseSync(join(place(directory, name), 'metadata.db'));
  records.exec("INSERT OR REPLACE INTO unsynced SELECT id, 'one' FROM snapshots WHERE kind = 'committed'");
}

async function contents(kernel: TestKernel, name: string, key: string): Promise<string[]> {
  const mounts = await kernel.get(Snapshots).view(SCOPE, name, key, CHAIN.at(-1) ?? '', ROOT);
  const read = (path: string) => ['etc/base', 'etc/both'].map((file) => readFileSync(join(path, file), 'utf8'));
  try {
    return await withMounts(mounts, read);
  } finally {
    await kernel.get(Snapshots).remove(SCOPE, name, key);
  }
}

describe('snapshots that were not on disk when power failed', () => {
  afterEach(() => {
    delete process.env[BOOT];
  });

  for (const [plugin, name, files] of [
    ['snapshot-overlay', 'overlayfs', ['1/fs/etc/base', '2/fs/etc/both']],
    ['snapshot-vfs', 'native', ['2/fs/etc/base', '2/fs/etc/both']],
  ] as const) {
    it(`are unpacked again before they are used (${name})`, async () => {
      await using directory = await scratch('doubts');
      const first = await start(directory.path, plugin, 'one');
      await unpack(first, name);
      await first.stop();
      for (const path of files) truncateSync(join(place(directory.path, name), 'snapshots', path), 0);
      const same = await start(directory.path, plugin, 'one');
      assert.deepEqual(same.get(SnapshotDoubts).list(), [], 'nothing is lost as long as the machine runs');
      assert.deepEqual(await contents(same, name, 'a'), ['', '']);
      await same.stop();
      unflushed(directory.path, name);
      const next = await start(directory.path, plugin, 'two');
      assert.deepEqual(await contents(next, name, 'b'), ['of the base', 'above']);
      assert.deepEqual(next.get(SnapshotDoubts).list(), []);
      await next.stop();
    });
  }

  it('stay as they are when no layer is here to make them again, and what waits goes on', async () => {
    await using directory = await scratch('doubts');
    const first = await start(directory.path, 'snapshot-overlay', 'one');
    await unpack(first, 'overlayfs');
    for await (const { digest } of first.get(Content).walk(SCOPE)) await first.get(Content).delete(SCOPE, digest);
    await first.stop();
    unflushed(directory.path, 'overlayfs');
    const next = await start(directory.path, 'snapshot-overlay', 'two');
    assert.deepEqual(await contents(next, 'overlayfs', 'c'), ['of the base', 'above']);
    assert.deepEqual(
      next
        .get(SnapshotDoubts)
        .list()
        .map(({ name }) => name),
      CHAIN,
    );
    await next.stop();
  });
});
