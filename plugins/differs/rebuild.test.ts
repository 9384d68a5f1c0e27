/** A power cut is played by damaging files and telling the next daemon that it is another boot. */
import assert from 'node:assert/strict';
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Content } from '../../kernel/contracts/content.js';
import { Diff } from '../../kernel/contracts/diff.js';
import type { Labels } from '../../kernel/contracts/scope.js';
import { SnapshotDoubts, Snapshots } from '../../kernel/contracts/snapshots.js';
import { digestOf } from '../../lib/digest.js';
import { withMounts } from '../../lib/linux/mount.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
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

const BASE64 = `${OCI_LAYER}+base64`;
const config = {
  differs: { stream_processors: { b64: { accepts: [BASE64], returns: OCI_LAYER, path: 'base64', args: ['-d'] } } },
};

const start = (directory: string, snapshotter: string, boot: string): Promise<TestKernel> => {
  process.env[BOOT] = boot;
  const plugins = ['content', 'events', 'metadata', 'diff', 'differs', snapshotter];
  return startTestKernel({ plugins, directory, config });
};

async function put(kernel: TestKernel, blob: Buffer, labels: Labels): Promise<string> {
  const digest = digestOf(blob);
  const writer = await kernel.get(Content).writer(SCOPE, { ref: digest });
  await writer.write(blob);
  await writer.commit({ labels: { ...labels, ...ROOT } });
  return digest;
}

/** As a client unpacks: the blob into content, then Prepare, Apply, Commit. */
async function unpack(kernel: TestKernel, name: string, mediaType = OCI_LAYER_GZIP): Promise<void> {
  const [snapshots, diff] = [kernel.get(Snapshots), kernel.get(Diff)];
  const layers = [];
  for (const [index, bytes] of LAYERS.entries()) {
    const blob = mediaType === BASE64 ? Buffer.from(bytes.toString('base64')) : gzipSync(bytes);
    const digest = await put(kernel, blob, { 'containerd.io/uncompressed': digestOf(bytes) });
    const layer = { mediaType, digest, size: blob.length };
    layers.push(layer);
    const key = `extract ${index}`;
    const mounts = await snapshots.prepare(SCOPE, name, key, CHAIN[index - 1] ?? '', ROOT);
    await diff.apply(SCOPE, layer, { mounts });
    await snapshots.commit(SCOPE, name, CHAIN[index] ?? '', key, { labels: ROOT });
  }
  const references = layers.map(({ digest }, index) => [`containerd.io/gc.ref.content.l.${index}`, digest]);
  await put(kernel, Buffer.from(JSON.stringify({ layers })), Object.fromEntries(references));
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

  for (const [plugin, name, files, mediaType] of [
    ['snapshot-overlay', 'overlayfs', ['1/fs/etc/base', '2/fs/etc/both'], OCI_LAYER_GZIP],
    ['snapshot-overlay', 'overlayfs', ['1/fs/etc/base', '2/fs/etc/both'], BASE64],
    ['snapshot-vfs', 'native', ['2/fs/etc/base', '2/fs/etc/both'], OCI_LAYER_GZIP],
  ] as const) {
    it(`are unpacked again before they are used (${name}, ${mediaType})`, async () => {
      await using directory = await scratch('doubts');
      const first = await start(directory.path, plugin, 'one');
      await unpack(first, name, mediaType);
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
