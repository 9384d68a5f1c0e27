import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import type { Labels } from '../../../kernel/contracts/scope.js';
import { Snapshotters } from '../../../kernel/contracts/snapshots.js';
import { DISCARD_UNPACKED } from '../../../lib/discard-label.js';
import { eventually } from '../../../test/harness/eventually.js';
import { TestMetadata } from '../../../test/harness/metadata.js';
import { scratch } from '../../../test/harness/scratch.js';

const NS = { namespace: 'test' };
const OTHER = { namespace: 'other' };
const ASKING = { [DISCARD_UNPACKED]: 'true' };

interface TestImage {
  readonly manifest: string;
  readonly config: string;
  readonly layers: readonly string[];
}

/** An image of two layers as clients leave it; unpacked unless its configuration says otherwise. */
async function putImage(
  metadata: TestMetadata,
  scope = NS,
  ofConfig: Labels = { 'containerd.io/gc.ref.snapshot.overlayfs': 'top' },
): Promise<TestImage> {
  const layers = [await metadata.put(scope, 'layer 0'), await metadata.put(scope, 'layer 1')];
  const config = await metadata.put(scope, `config ${JSON.stringify(ofConfig)}`, ofConfig);
  const manifest = await metadata.put(scope, `manifest of ${config}`, {
    'containerd.io/gc.ref.content.config': config,
    ...Object.fromEntries(layers.map((digest, index) => [`containerd.io/gc.ref.content.l.${index}`, digest])),
  });
  return { manifest, config, layers };
}

async function unpack(metadata: TestMetadata, scope = NS): Promise<void> {
  await metadata.layer(scope, 'overlayfs', 'base');
  await metadata.layer(scope, 'overlayfs', 'top', 'base');
}

const flushed = (metadata: TestMetadata): Promise<unknown> =>
  eventually('all files are on disk', () => {
    const unflushed = [...metadata.kernel.get(Snapshotters).values()].flatMap((one) => one.unflushed?.() ?? []);
    return unflushed.length === 0 || undefined;
  });

const check = (title: string, body: (metadata: TestMetadata) => Promise<void>): void => {
  it(title, async () => {
    await using metadata = await TestMetadata.start();
    await body(metadata);
  });
};

describe('layers that are discarded once they are unpacked', () => {
  check('by the label of a namespace, there alone; image and snapshots stay', async (metadata) => {
    const images = new Map<string, TestImage>();
    for (const scope of [NS, OTHER]) {
      await unpack(metadata, scope);
      const image = await putImage(metadata, scope);
      await metadata.image(scope, 'i', image.manifest);
      images.set(scope.namespace, image);
    }
    await flushed(metadata);
    await metadata.namespaces.update({ name: 'test', labels: ASKING });
    await metadata.collector.collect();
    const { manifest = '', config = '', layers = [] } = images.get('test') ?? {};
    assert.deepEqual(await metadata.digests(NS), [manifest, config].sort());
    assert.deepEqual(await metadata.snapshotNames(NS, 'overlayfs'), ['base', 'top']);
    assert.equal((await metadata.digests(OTHER)).length, 4);
    await metadata.namespaces.update({ name: 'other', labels: ASKING });
    await metadata.collector.collect();
    const { blobs } = await metadata.onDisk();
    assert.ok(blobs.length > 0 && layers.every((layer) => !blobs.includes(layer)));
  });

  check('by the label of an image, also where that is an index, for its manifests', async (metadata) => {
    await unpack(metadata);
    const { manifest, config } = await putImage(metadata);
    const index = await metadata.put(NS, 'index', { 'containerd.io/gc.ref.content.m.0': manifest });
    await metadata.image(NS, 'i', index);
    await flushed(metadata);
    await metadata.collector.collect();
    assert.equal((await metadata.digests(NS)).length, 5);
    const target = { mediaType: 'x', digest: index, size: 1 };
    await metadata.images.update(NS, { name: 'i', target, labels: { [DISCARD_UNPACKED]: 'false' } }, ['labels']);
    await metadata.collector.collect();
    assert.equal((await metadata.digests(NS)).length, 5);
    await metadata.images.update(NS, { name: 'i', target, labels: ASKING }, ['labels']);
    await metadata.collector.collect();
    assert.deepEqual(await metadata.digests(NS), [manifest, config, index].sort());
  });

  check('not before all of the image is unpacked', async (metadata) => {
    await metadata.namespaces.create({ name: 'test', labels: ASKING });
    const { manifest } = await putImage(metadata);
    await metadata.image(NS, 'i', manifest);
    await metadata.collector.collect();
    assert.equal((await metadata.digests(NS)).length, 4, 'no snapshot is there');
    const packed = await putImage(metadata, OTHER, {});
    await metadata.image(OTHER, 'i', packed.manifest, ASKING);
    await metadata.collector.collect();
    assert.equal((await metadata.digests(OTHER)).length, 4, 'nobody unpacked it');
  });

  check('not while something else refers to them', async (metadata) => {
    await metadata.namespaces.create({ name: 'test', labels: ASKING });
    await unpack(metadata);
    const { manifest, layers } = await putImage(metadata);
    await metadata.image(NS, 'i', manifest);
    const [first = '', second = ''] = layers;
    const packed = await metadata.put(NS, 'not unpacked', { 'containerd.io/gc.ref.content.l.0': first });
    await metadata.image(NS, 'other', packed);
    const { id } = await metadata.leases.create(NS, {});
    await metadata.leases.addResource(NS, id, { type: 'content', id: second });
    await flushed(metadata);
    await metadata.collector.collect();
    assert.equal((await metadata.digests(NS)).length, 5);
    await metadata.leases.delete(NS, id);
    await metadata.collector.collect();
    const left = await metadata.digests(NS);
    assert.ok(left.includes(first) && !left.includes(second));
  });

  it('not while a power cut may have taken their files', async () => {
    await using directory = await scratch('discards');
    const first = await TestMetadata.start({ directory: directory.path });
    await unpack(first);
    const { manifest, config } = await putImage(first);
    await first.image(NS, 'i', manifest, ASKING);
    await first.kernel.stop();
    const records = join(directory.path, 'root/io.containerd.snapshotter.v1.overlayfs/metadata.db');
    using database = new DatabaseSync(records);
    database.exec("INSERT OR REPLACE INTO unsynced SELECT id, 'another' FROM snapshots WHERE name LIKE '%/base'");
    database.close();

    await using second = await TestMetadata.start({ directory: directory.path });
    await second.collector.collect();
    assert.equal((await second.digests(NS)).length, 4);
    const backend = second.kernel.get(Snapshotters).get('overlayfs');
    const [base = ''] = backend?.unsynced?.() ?? [];
    assert.match(base, /\/base$/);
    await backend?.rebuild?.(base, async () => {});
    await flushed(second);
    await second.collector.collect();
    assert.deepEqual(await second.digests(NS), [manifest, config].sort());
  });

  check('soon after the files are on disk, though nothing else causes a collection', async (metadata) => {
    await unpack(metadata);
    const { manifest } = await putImage(metadata);
    await metadata.image(NS, 'i', manifest, ASKING);
    await metadata.collector.collect();
    await eventually('the layers are gone', async () => (await metadata.digests(NS)).length === 2 || undefined);
  });
});
