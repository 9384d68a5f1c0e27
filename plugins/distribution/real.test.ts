/** Pulls with the real plugins: from a real registry, and from one that misbehaves. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Content } from '../../kernel/contracts/content.js';
import { Distribution } from '../../kernel/contracts/distribution.js';
import { Images } from '../../kernel/contracts/images.js';
import { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { mountTable, withMounts } from '../../lib/linux/mount.js';
import { OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { PULL_PLUGINS } from '../../test/crash/pull.js';
import { imageLayout } from '../../test/harness/images.js';
import { startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { differencesFrom, umociTree } from '../../test/harness/reference.js';
import { type Registry, startRegistry } from '../../test/harness/registry.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { describeTree } from '../../test/harness/tree.js';
import { addImage, archiveOf } from '../../test/hostile/images.js';
import { resetAfter, ScriptedRegistry } from '../../test/hostile/registry.js';

const config = { distribution: { hosts_directories: [], first_delay: 5 } };
const SNAPSHOTTERS = ['overlayfs', 'native'] as const;

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Nothing of a pull is under way or left half done, on record or on disk. */
async function assertNothingUnderWay(kernel: TestKernel, namespace: string): Promise<void> {
  const scope = { namespace };
  assert.deepEqual(await kernel.get(Content).statuses(scope), []);
  assert.deepEqual(await kernel.get(Leases).list(scope), []);
  for (const snapshotter of SNAPSHOTTERS) {
    const left = await all(kernel.get(Snapshots).walk(scope, snapshotter));
    assert.deepEqual(
      left.filter(({ kind }) => kind !== 'committed'),
      [],
    );
  }
  assert.deepEqual(
    (await mountTable()).filter(({ target }) => target.startsWith(kernel.directory)),
    [],
  );
}

describe('pulling with the real plugins', () => {
  let kernel: TestKernel;
  let directory: Scratch;
  let real: Registry;

  before(async () => {
    directory = await scratch('pull');
    real = await startRegistry();
    kernel = await startTestKernel({ plugins: PULL_PLUGINS, config });
  });
  after(async () => {
    await kernel[Symbol.asyncDispose]();
    await real[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const view = async (namespace: string, snapshotter: string, chainId: string) => {
    const mounts = await kernel.get(Snapshots).view({ namespace }, snapshotter, 'look', chainId);
    const work = join(directory.path, `view-${namespace}-${snapshotter}`);
    await mkdir(work);
    try {
      return await withMounts(mounts, (root) => describeTree(root, { withoutRoot: true }), { directory: work });
    } finally {
      await kernel.get(Snapshots).remove({ namespace }, snapshotter, 'look');
    }
  };

  for (const [name, snapshotters] of [
    ['busybox', SNAPSHOTTERS],
    ['debian', ['overlayfs']],
  ] as const) {
    for (const snapshotter of snapshotters) {
      it(`unpacks ${name} on ${snapshotter} as umoci does`, async () => {
        const namespace = `${name}-${snapshotter}`;
        const layout = await imageLayout(name);
        const reference = await real.push(layout, `test/${name}`);
        const pulled = await kernel.get(Distribution).pull({ namespace }, reference, { unpack: [{ snapshotter }] });
        const expected = await umociTree(layout, join(directory.path, `umoci-${namespace}`));
        const actual = await view(namespace, snapshotter, pulled.unpacked[0]?.chainId ?? '');
        assert.ok(actual.length > 1);
        assert.deepEqual(differencesFrom(expected, actual, snapshotter === 'overlayfs'), []);
        await assertNothingUnderWay(kernel, namespace);
        await kernel.get(GarbageCollector).collect();
        assert.equal((await kernel.get(Images).get({ namespace }, reference)).target.mediaType, OCI_MANIFEST);
        const chain = await all(kernel.get(Snapshots).walk({ namespace }, snapshotter));
        assert.ok(chain.some(({ name: found }) => found === pulled.unpacked[0]?.chainId));
      });
    }
  }

  it('keeps nothing once the image is deleted', async () => {
    const namespace = 'short';
    const reference = await real.push(await imageLayout('busybox'), 'test/short');
    await kernel.get(Distribution).pull({ namespace }, reference, { unpack: [{}] });
    await kernel.get(Images).delete({ namespace }, reference, { sync: true });
    assert.deepEqual(await all(kernel.get(Content).walk({ namespace })), []);
    assert.deepEqual(await all(kernel.get(Snapshots).walk({ namespace }, 'overlayfs')), []);
  });
});

describe('pulling in ranges from a real registry', () => {
  it('unpacks on every snapshotter what umoci does, and keeps the blobs as they are', async () => {
    await using real = await startRegistry();
    await using directory = await scratch('ranges');
    const settings = { distribution: { ...config.distribution, download_chunk: 2 ** 20 } };
    await using kernel = await startTestKernel({ plugins: PULL_PLUGINS, config: settings });
    const layout = await imageLayout('debian');
    const reference = await real.push(layout, 'test/ranges');
    const scope = { namespace: 'ranges' };
    const unpack = SNAPSHOTTERS.map((snapshotter) => ({ snapshotter }));
    const { unpacked } = await kernel.get(Distribution).pull(scope, reference, { unpack });
    const blobs = await all(kernel.get(Content).walk(scope));
    assert.ok(blobs.some(({ size }) => size > 3 * 2 ** 20));
    for (const { digest } of blobs) assert.ok(await kernel.get(Content).verify(scope, digest), digest);
    const expected = await umociTree(layout, join(directory.path, 'umoci'));
    for (const { snapshotter, chainId } of unpacked) {
      const mounts = await kernel.get(Snapshots).view(scope, snapshotter, `look-${snapshotter}`, chainId);
      const work = join(directory.path, snapshotter);
      await mkdir(work);
      const actual = await withMounts(mounts, (root) => describeTree(root, { withoutRoot: true }), { directory: work });
      assert.deepEqual(differencesFrom(expected, actual, snapshotter === 'overlayfs'), []);
      await kernel.get(Snapshots).remove(scope, snapshotter, `look-${snapshotter}`);
    }
    assert.equal(unpacked.length, SNAPSHOTTERS.length);
  });
});

describe('pulling with the real plugins from a hostile registry', () => {
  let kernel: TestKernel;
  let registry: ScriptedRegistry;
  let count = 0;

  before(async () => {
    registry = await ScriptedRegistry.start();
    kernel = await startTestKernel({ plugins: PULL_PLUGINS, config });
  });
  after(async () => {
    await kernel[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const publish = (options: Partial<Parameters<typeof addImage>[1]> = {}) => {
    registry.forget();
    const tag = `t${count++}`;
    const layers = [archiveOf('a', 3_000), archiveOf('b', 2_500_000), archiveOf('c', 70_000)];
    const image = addImage(registry, { tag, layers, ...options });
    return { image, layers, reference: `${registry.host}/team/app:${tag}`, namespace: `ns${count}` };
  };
  const distribution = () => kernel.get(Distribution);

  for (const snapshotter of SNAPSHOTTERS) {
    const unpack = [{ snapshotter }];
    const fails = async (namespace: string, reference: string, code: string): Promise<void> => {
      await assert.rejects(distribution().pull({ namespace }, reference, { unpack }), (error) => {
        assert.ok(error instanceof Error && 'code' in error);
        assert.equal(error.code, code, error.message);
        return true;
      });
      await assertNothingUnderWay(kernel, namespace);
      assert.deepEqual(await kernel.get(Images).list({ namespace }), []);
    };

    it(`leaves nothing of a wrong digest on ${snapshotter}`, async () => {
      const { image, reference, namespace } = publish();
      const bad = Buffer.from(image.blobs[1] ?? []);
      bad.writeUInt8((bad.at(-1) ?? 0) ^ 1, bad.length - 1);
      registry.script(new RegExp(`blobs/${image.layers[1]?.digest}`), (response) => response.end(bad));
      await assert.rejects(distribution().pull({ namespace }, reference, { unpack }));
      await assertNothingUnderWay(kernel, namespace);
      const plain = publish();
      registry.script(/blobs\/.*/, (_response, _request, normal) => normal());
      registry.script(new RegExp(`blobs/${plain.image.layers[1]?.digest}`), (response) =>
        response.end(Buffer.alloc(plain.image.layers[1]?.size ?? 0)),
      );
      await assert.rejects(distribution().pull({ namespace: plain.namespace }, plain.reference), {
        code: 'FAILED_PRECONDITION',
      });
      await assertNothingUnderWay(kernel, plain.namespace);
    });

    it(`leaves nothing of a layer cut short on ${snapshotter}`, async () => {
      const { image, namespace } = publish();
      const cut = registry.addBlob(
        image.blobs[1]?.subarray(0, 1_000_000) ?? Buffer.alloc(0),
        image.layers[1]?.mediaType,
      );
      const layers = [image.layers[0], cut, image.layers[2]];
      registry.addManifest({ schemaVersion: 2, config: image.config, layers }, OCI_MANIFEST, 'cut');
      await fails(namespace, `${registry.host}/team/app:cut`, 'INVALID_ARGUMENT');
    });

    it(`leaves nothing of a layer that is not what its diffID says on ${snapshotter}`, async () => {
      const layers = [archiveOf('a', 100), archiveOf('b', 100)];
      const { reference, namespace } = publish({
        layers,
        diffIds: [`sha256:${'0'.repeat(64)}`, `sha256:${'1'.repeat(64)}`],
      });
      await fails(namespace, reference, 'FAILED_PRECONDITION');
    });

    it(`goes on through resets, and shares one download among many on ${snapshotter}`, async () => {
      const { image, reference, namespace } = publish();
      const pattern = new RegExp(`blobs/${image.layers[1]?.digest}`);
      registry.script(pattern, resetAfter(image.blobs[1] ?? Buffer.alloc(0), 600_000), 3);
      const pulls = Array.from({ length: 4 }, () => distribution().pull({ namespace }, reference, { unpack }));
      for (const { unpacked } of await Promise.all(pulls)) assert.equal(unpacked[0]?.chainId, image.chainId);
      assert.ok(registry.seen(pattern).length <= 5);
      for (const { digest } of [image.layers[0], image.layers[2]].flatMap((layer) => layer ?? [])) {
        assert.equal(registry.seen(new RegExp(`blobs/${digest}`)).length, 1);
      }
      await assertNothingUnderWay(kernel, namespace);
    });

    it(`leaves nothing when it is cancelled on ${snapshotter}, and works at once after a collection`, async () => {
      const { image, reference, namespace } = publish();
      const scope = { namespace };
      const controller = new AbortController();
      const options = {
        unpack,
        onProgress: ({ event }: { readonly event: string }) => {
          // The smallest layer is there and unpacked, another is on its way.
          if (event === 'extracted') controller.abort();
        },
      };
      registry.script(new RegExp(`blobs/${image.layers[1]?.digest}`), (response) => {
        response.writeHead(200).write(image.blobs[1]?.subarray(0, 2_000_000));
      });
      await assert.rejects(distribution().pull({ ...scope, signal: controller.signal }, reference, options), {
        code: 'CANCELED',
      });
      await assertNothingUnderWay(kernel, namespace);
      registry.forget();
      // No collection comes between what the second pull finds and what it holds.
      await Promise.all([kernel.get(GarbageCollector).collect(), distribution().pull(scope, reference, { unpack })]);
      await kernel.get(Images).delete(scope, reference, { sync: true });
      assert.deepEqual(await all(kernel.get(Content).walk(scope)), []);
      assert.deepEqual(await all(kernel.get(Snapshots).walk(scope, snapshotter)), []);
    });

    it(`leaves nothing of a cancelled pull behind a collection on ${snapshotter}`, async () => {
      const { image, reference, namespace } = publish();
      const scope = { namespace };
      const controller = new AbortController();
      registry.script(new RegExp(`blobs/${image.layers[1]?.digest}`), (response) => {
        response.writeHead(200).write(image.blobs[1]?.subarray(0, 2_000_000), () => controller.abort());
      });
      await assert.rejects(distribution().pull({ ...scope, signal: controller.signal }, reference, { unpack }), {
        code: 'CANCELED',
      });
      await kernel.get(GarbageCollector).collect();
      await assertNothingUnderWay(kernel, namespace);
      assert.deepEqual(await all(kernel.get(Content).walk(scope)), []);
      assert.deepEqual(await all(kernel.get(Snapshots).walk(scope, snapshotter)), []);
      registry.forget();
      const pulled = await distribution().pull(scope, reference, { unpack });
      assert.equal(pulled.unpacked[0]?.chainId, image.chainId);
    });
  }

  it('uses what another namespace has, with labels of its own', async () => {
    const { image, reference, namespace } = publish();
    await distribution().pull({ namespace }, reference, { unpack: [{}] });
    registry.forget();
    await distribution().pull({ namespace: `${namespace}-b` }, reference, { unpack: [{}] });
    assert.equal(registry.seen(/blobs/).length, 0);
    const info = await kernel.get(Content).info({ namespace: `${namespace}-b` }, image.layers[1]?.digest ?? '');
    assert.equal(info.labels['containerd.io/uncompressed'], image.diffIds[1]);
    await kernel.get(GarbageCollector).collect();
    await kernel.get(Snapshots).stat({ namespace: `${namespace}-b` }, 'overlayfs', image.chainId);
  });

  it('keeps further names as long as the image they belong to', async () => {
    const { reference, namespace } = publish();
    const extraNames = [{ name: 'further', addDigest: false }];
    await distribution().pull({ namespace }, reference, { names: ['main'], extraNames });
    const names = async () => {
      await kernel.get(GarbageCollector).collect();
      return (await kernel.get(Images).list({ namespace })).map(({ name }) => name);
    };
    assert.deepEqual((await names()).sort(), ['further', 'main']);
    await kernel.get(Images).delete({ namespace }, 'main');
    assert.deepEqual(await names(), []);
  });

  for (const how of ['flipped', 'truncated', 'deleted'] as const) {
    it(`repairs in place what was ${how} on the disk, for every namespace`, async () => {
      const { image, reference, namespace } = publish();
      await distribution().fetch({ namespace, lease: await leaseIn(namespace) }, reference);
      const content = kernel.get(Content);
      const damaged = [image.manifest.digest, image.config.digest, image.layers[0]?.digest ?? ''];
      for (const digest of damaged) {
        const [root = ''] = (await readdir(join(kernel.directory, 'root'))).filter((name) => name.includes('content'));
        const file = join(kernel.directory, 'root', root, 'blobs', digest.replace(':', '/'));
        await chmod(file, 0o600);
        if (how === 'deleted') await rm(file);
        else if (how === 'truncated') await truncate(file, 20);
        else await writeFile(file, Buffer.alloc((await stat(file)).size, 'x'));
      }
      registry.forget();
      const other = `${namespace}-c`;
      await distribution().pull({ namespace: other }, reference, { unpack: [{}] });
      for (const scope of [{ namespace }, { namespace: other }]) {
        for (const digest of damaged) assert.ok(await content.verify(scope, digest), digest);
      }
      await kernel.get(Snapshots).stat({ namespace: other }, 'overlayfs', image.chainId);
      assert.equal(registry.seen(/GET/).length, damaged.length);
      assert.equal(await content.verify({ namespace: other }, image.layers[1]?.digest ?? ''), true);
      await assert.rejects(content.verify({ namespace: 'elsewhere' }, damaged[0] ?? ''), { code: 'NOT_FOUND' });
    });
  }

  const leaseIn = async (namespace: string) => (await kernel.get(Leases).create({ namespace }, {})).id;

  it('leaves no directory of an unpack behind on disk', async () => {
    await kernel.get(GarbageCollector).collect();
    for (const folder of await readdir(join(kernel.directory, 'root'))) {
      assert.doesNotMatch(folder, /extract/);
    }
  });
});
