import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ImageStore, OCIRegistry, WriteStream } from '../../api/gen/types/transfer.js';
import {
  type Client,
  connect,
  exportImages,
  importImages,
  type Progress,
  type PullRequest,
  pullImage,
  pushImage,
} from '../../client/index.js';
import { Content } from '../../kernel/contracts/content.js';
import { Diff } from '../../kernel/contracts/diff.js';
import { Images } from '../../kernel/contracts/images.js';
import { Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { packAny } from '../../lib/rpc/any.js';
import { eventually } from '../../test/harness/eventually.js';
import { providing, startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { MemoryContent, MemoryImages, MemoryLeases, memoryNamespaces } from '../../test/harness/memory.js';
import { MemoryDiff, MemorySnapshots } from '../../test/harness/memory-snapshots.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { addImage, type ScriptedImage } from '../../test/hostile/images.js';
import { refuse, ScriptedRegistry } from '../../test/hostile/registry.js';

const SECRET = 'canary-5521';

describe('transfers over gRPC', () => {
  let directory: Scratch;
  let kernel: TestKernel;
  let client: Client;
  let registry: ScriptedRegistry;
  let image: ScriptedImage;
  let reference: string;
  const leases = new MemoryLeases();
  const content = new MemoryContent(leases);
  const images = new MemoryImages();
  const snapshots = new MemorySnapshots(leases, ['rebase']);
  const unpack = [{ platform: hostPlatform(), snapshotter: '' }];

  before(async () => {
    directory = await scratch('transfer');
    registry = await ScriptedRegistry.start();
    const address = join(directory.path, 'socket');
    kernel = await startTestKernel({
      plugins: [
        providing(Content, content),
        providing(Diff, new MemoryDiff(snapshots)),
        providing(Images, images),
        providing(Leases, leases),
        providing(Namespaces, memoryNamespaces()),
        providing(Snapshots, snapshots),
        'distribution',
        'streaming',
        'streaming-service',
        'transfer',
        'server-grpc',
      ],
      config: { 'server-grpc': { address }, distribution: { hosts_directories: [], first_delay: 5 } },
    });
    client = connect({ address, namespace: 'default' });
  });
  after(async () => {
    client[Symbol.dispose]();
    await kernel[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    registry.forget();
    image = addImage(registry, { tag: 'latest', layers: [randomBytes(5000), randomBytes(1_500_000)] });
    reference = `${registry.host}/team/app:latest`;
  });

  it('pull with one call, and report', async () => {
    const seen: Progress[] = [];
    const labels = { a: 'b' };
    await pullImage(client, { reference, unpack, labels, name: 'mine', onProgress: (progress) => seen.push(progress) });
    assert.deepEqual(images.images.get('mine')?.target, image.manifest);
    assert.deepEqual(images.images.get('mine')?.labels, labels);
    assert.deepEqual(snapshots.chain(image.chainId), image.diffIds);
    const layer = seen.filter(({ desc }) => desc?.digest === image.layers[1]?.digest);
    assert.equal(layer[0]?.event, 'waiting');
    assert.equal(layer.at(-1)?.event, 'extracted');
    assert.equal(layer.at(-1)?.progress, layer.at(-1)?.total);
    assert.ok(layer.some(({ event }) => event === 'downloading'));
    assert.match(seen.at(-1)?.event ?? '', /^Completed pull/);
  });

  it('fetch only, without unpacking', async () => {
    await pullImage(client, { reference });
    assert.ok(!snapshots.snapshots.has(image.chainId));
    assert.ok(content.blobs.has(image.layers[1]?.digest ?? ''));
  });

  const guarded = (request: Partial<PullRequest>, wanted: string) => {
    registry.script(
      /v2/,
      (response, { headers }, normal) => {
        if (headers.authorization === wanted) normal();
        else refuse(response, 401, 'X', 'who?', { 'www-authenticate': 'Basic realm="r"' });
      },
      50,
    );
    return pullImage(client, { reference, ...request });
  };

  it('ask the client for credentials', async () => {
    const asked: string[] = [];
    const credentials = async (host: string) => {
      asked.push(host);
      return { username: 'me', secret: SECRET };
    };
    await guarded({ credentials }, `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}`);
    assert.deepEqual(asked, [registry.host]);
  });

  it('say so when the client has none, or the wrong ones', async () => {
    await assert.rejects(guarded({}, 'x'), { code: 'UNAUTHENTICATED' });
    await assert.rejects(guarded({ credentials: async () => undefined }, 'x'), { code: 'UNAUTHENTICATED' });
    const wrong = guarded({ credentials: async () => ({ username: 'me', secret: SECRET }) }, 'x');
    await assert.rejects(wrong, (error) => {
      assert.ok(error instanceof Error && !error.message.includes(SECRET));
      return true;
    });
  });

  it('end when a call-back of the client throws', async () => {
    const credentials = async () => {
      throw new TypeError('no terminal');
    };
    await assert.rejects(guarded({ credentials }, 'x'), { message: 'no terminal' });
  });

  it('report failures by the taxonomy, after what was reported', async () => {
    registry.script(/GET .*blobs/, (response) => response.end('short'), 50);
    const seen: Progress[] = [];
    const failing = pullImage(client, { reference, unpack, onProgress: (progress) => seen.push(progress) });
    await assert.rejects(failing, { code: 'FAILED_PRECONDITION' });
    assert.deepEqual(snapshots.unfinished(), []);
    assert.deepEqual([...content.ingests.keys()], []);
    await assert.rejects(pullImage(client, { reference: `${registry.host}/team/app:absent` }), { code: 'NOT_FOUND' });
    await assert.rejects(pullImage(client, { reference: 'redis' }), { code: 'INVALID_ARGUMENT' });
    const strange = [{ platform: hostPlatform(), snapshotter: 'strange' }];
    await assert.rejects(pullImage(client, { reference, unpack: strange }), { message: /snapshotter not loaded/ });
  });

  it('end with their caller', async () => {
    const controller = new AbortController();
    registry.script(/GET .*blobs/, () => setTimeout(() => controller.abort(), 20), 9);
    const pulling = pullImage(client, { reference, unpack, signal: controller.signal, onProgress: () => {} });
    await assert.rejects(pulling, { code: 'CANCELED' });
    await eventually('the daemon has cleaned up', () =>
      snapshots.unfinished().length + content.ingests.size + leases.held.size === 0 ? true : undefined,
    );
  });

  const store = (name: string): ImageStore => ImageStore.fromPartial({ name });

  it('tag', async () => {
    await pullImage(client, { reference });
    const source = packAny(ImageStore, store(reference));
    const tries: Record<string, string>[] = [{}, { again: 'yes' }];
    for (const labels of tries) {
      const destination = packAny(ImageStore, { ...store('other'), labels });
      await client.transfer.transfer({ source, destination });
      assert.deepEqual(images.images.get('other')?.target, image.manifest);
      assert.deepEqual(images.images.get('other')?.labels, labels);
    }
    const absent = packAny(ImageStore, store('absent'));
    await assert.rejects(client.transfer.transfer({ source: absent, destination: source }), { code: 'NOT_FOUND' });
  });

  it('give a pulled image its further names', async () => {
    const named = (name: string, more: object) => ({
      ...{ name, isPrefix: false, allowOverwrite: false, addDigest: false, skipNamedDigest: false },
      ...more,
    });
    const destination = ImageStore.fromPartial({
      name: 'main',
      extraReferences: [
        named('other', {}),
        named('by', { addDigest: true }),
        named('prefix', { isPrefix: true }),
        named('both', { isPrefix: true, addDigest: true }),
      ],
    });
    await client.transfer.transfer({
      source: packAny(OCIRegistry, OCIRegistry.fromPartial({ reference })),
      destination: packAny(ImageStore, destination),
    });
    const { digest } = image.manifest;
    for (const name of ['main', 'other', `by@${digest}`, `both@${digest}`]) {
      assert.deepEqual(images.images.get(name)?.target, image.manifest, name);
    }
    assert.equal(images.images.has('prefix'), false);
    assert.equal(images.images.get('other')?.labels['containerd.io/gc.bref.image'], 'main');
    assert.deepEqual(images.images.get('main')?.labels, {});
  });

  it('push, with credentials of the client', async () => {
    await pullImage(client, { reference });
    await using other = await ScriptedRegistry.start();
    const wanted = `Basic ${Buffer.from(`me:${SECRET}`).toString('base64')}`;
    other.script(
      /v2/,
      (response, { headers }, normal) => {
        if (headers.authorization === wanted) normal();
        else refuse(response, 401, 'X', 'who?', { 'www-authenticate': 'Basic realm="r"' });
      },
      50,
    );
    const seen: Progress[] = [];
    await pushImage(client, {
      reference: `${other.host}/copy/app:v2`,
      name: reference,
      credentials: async () => ({ username: 'me', secret: SECRET }),
      onProgress: (progress) => seen.push(progress),
    });
    assert.equal(other.seen(/PUT .*manifests\/v2/).length, 1);
    assert.deepEqual(other.uploads.blob(image.layers[1]?.digest ?? ''), image.blobs[1]);
    assert.ok(seen.some(({ event, desc }) => event === 'complete' && desc?.digest === image.layers[1]?.digest));
    await assert.rejects(pushImage(client, { reference: `${other.host}/x/y:z`, name: 'absent' }), {
      code: 'NOT_FOUND',
    });
  });

  it('export an archive and import it', async () => {
    await pullImage(client, { reference });
    const chunks: Buffer[] = [];
    const write = async (bytes: Uint8Array) => void chunks.push(Buffer.from(bytes));
    await exportImages(client, { names: [reference], write });
    const whole = Buffer.concat(chunks);
    assert.ok(whole.length > 1_500_000 && whole.length % 512 === 0);
    images.images.clear();
    content.blobs.clear();
    async function* archive() {
      for (let at = 0; at < whole.length; at += 100_000) yield whole.subarray(at, at + 100_000);
    }
    const names = [{ name: 'any', isPrefix: true, allowOverwrite: true, addDigest: false, skipNamedDigest: false }];
    const seen: string[] = [];
    await importImages(client, { archive: archive(), names, unpack, onProgress: ({ event }) => seen.push(event) });
    assert.deepEqual(images.images.get(reference)?.target, image.manifest);
    assert.deepEqual([seen[0], seen.at(-1)], ['Importing', 'Completed import']);
  });

  it('export to who takes the bytes slower than they come', async () => {
    await pullImage(client, { reference });
    for (let turn = 0; turn < 5; turn++) {
      let size = 0;
      const write = async (bytes: Uint8Array): Promise<void> => {
        await delay(2);
        size += bytes.length;
      };
      await exportImages(client, { names: [reference], write });
      assert.ok(size > 1_500_000 && size % 512 === 0, `${size} bytes`);
    }
  });

  it('import an archive with megabytes of padding', async () => {
    await pullImage(client, { reference });
    const chunks: Buffer[] = [];
    const write = async (bytes: Uint8Array) => void chunks.push(Buffer.from(bytes));
    await exportImages(client, { names: [reference], write });
    async function* archive() {
      yield* chunks;
      for (let padding = 0; padding < 100; padding++) yield Buffer.alloc(100_000 - (100_000 % 512));
    }
    const names = [{ name: 'any', isPrefix: true, allowOverwrite: true, addDigest: false, skipNamedDigest: false }];
    images.images.clear();
    await importImages(client, { archive: archive(), names });
    assert.deepEqual(images.images.get(reference)?.target, image.manifest);
  });

  it('report what is wrong with an archive, or with who wrote or reads it', async () => {
    async function* broken() {
      yield Buffer.alloc(5000, 'x');
    }
    await assert.rejects(importImages(client, { archive: broken(), name: 'x' }), { code: 'INVALID_ARGUMENT' });
    async function* failing() {
      yield Buffer.alloc(512);
      throw new TypeError('the disk is gone');
    }
    await assert.rejects(importImages(client, { archive: failing(), name: 'x' }), { message: 'the disk is gone' });
    const write = async () => {
      throw new TypeError('the disk is full');
    };
    await pullImage(client, { reference });
    await assert.rejects(exportImages(client, { names: [reference], write }), { message: 'the disk is full' });
    await assert.rejects(exportImages(client, { names: ['absent'], write }), { code: 'NOT_FOUND' });
    await eventually('the daemon has cleaned up', () =>
      content.ingests.size + leases.held.size === 0 ? true : undefined,
    );
  });

  it('say what they cannot do', async () => {
    const source = packAny(ImageStore, store(reference));
    const stream = packAny(WriteStream, WriteStream.fromPartial({}));
    await assert.rejects(client.transfer.transfer({ source, destination: stream }), {
      code: 'UNIMPLEMENTED',
      message: /ImageStore" to "containerd\.types\.transfer\.WriteStream/,
    });
    await assert.rejects(client.transfer.transfer({ source }), { code: 'INVALID_ARGUMENT' });
    const options = { progressStream: 'unknown' };
    const registrySource = packAny(OCIRegistry, OCIRegistry.fromPartial({ reference }));
    await assert.rejects(client.transfer.transfer({ source: registrySource, destination: source, options }), {
      code: 'NOT_FOUND',
      message: /"unknown"/,
    });
  });
});
