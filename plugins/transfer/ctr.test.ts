/**
 * What `ctr image pull`, `export` and `import` of containerd 2.x send, message by message and with
 * nothing of our client between: its streams, its ids, its defaults.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ClientDuplexStream, credentials, Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import { Any } from '../../api/gen/google/protobuf/any.js';
import { StreamInit } from '../../api/gen/services/streaming.js';
import { TransferRequest } from '../../api/gen/services/transfer.js';
import {
  AuthRequest,
  AuthResponse,
  AuthType,
  Data,
  ImageExportStream,
  ImageImportStream,
  ImageStore,
  OCIRegistry,
  Progress,
  WindowUpdate,
} from '../../api/gen/types/transfer.js';
import { Content } from '../../kernel/contracts/content.js';
import { Diff } from '../../kernel/contracts/diff.js';
import { Images } from '../../kernel/contracts/images.js';
import { Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { OCI_MANIFEST } from '../../lib/oci/media-types.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import { providing, startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { MemoryContent, MemoryImages, MemoryLeases, memoryNamespaces } from '../../test/harness/memory.js';
import { MemoryDiff, MemorySnapshots } from '../../test/harness/memory-snapshots.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { addImage, addIndex, type ScriptedImage } from '../../test/hostile/images.js';
import { refuse, ScriptedRegistry } from '../../test/hostile/registry.js';

const raw = (bytes: Buffer): Buffer => bytes;
const encode = (any: Any): Buffer => Buffer.from(Any.encode(any).finish());

describe('what ctr 2.x sends to pull', () => {
  let directory: Scratch;
  let kernel: TestKernel;
  let registry: ScriptedRegistry;
  let grpc: GrpcClient;
  let image: ScriptedImage;
  let other: ScriptedImage;
  let reference: string;
  const leases = new MemoryLeases();
  const content = new MemoryContent(leases);
  const images = new MemoryImages();
  const snapshots = new MemorySnapshots(leases, ['rebase']);
  const metadata = new Metadata();
  metadata.set('containerd-namespace', 'default');

  before(async () => {
    directory = await scratch('ctr-transfer');
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
    grpc = new GrpcClient(`unix:${address}`, credentials.createInsecure());
    image = addImage(registry, { layers: [randomBytes(5000), randomBytes(700_000)] });
    other = addImage(registry, { layers: [randomBytes(50)], platform: { os: 'linux', architecture: 's390x' } });
    addIndex(registry, 'latest', [
      { ...image.manifest, platform: hostPlatform() },
      { ...other.manifest, platform: { os: 'linux', architecture: 's390x' } },
    ]);
    reference = `${registry.host}/team/app:latest`;
    const wanted = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    registry.script(
      /v2/,
      (response, { headers }, normal) => {
        if (headers.authorization === wanted) normal();
        else refuse(response, 401, 'UNAUTHORIZED', 'who?', { 'www-authenticate': 'Basic realm="r"' });
      },
      1000,
    );
  });
  after(async () => {
    grpc.close();
    await kernel[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  /** StreamInit, and the acknowledgement, before anything else happens. */
  async function openStream(id: string): Promise<ClientDuplexStream<Buffer, Any>> {
    const path = '/containerd.services.streaming.v1.Streaming/Stream';
    const stream = grpc.makeBidiStreamRequest<Buffer, Any>(path, raw, (bytes) => Any.decode(bytes), metadata);
    const typeUrl = 'containerd.services.streaming.v1.StreamInit';
    const acknowledged = new Promise<Any>((resolve, reject) => {
      stream.once('data', resolve);
      stream.once('error', reject);
    });
    stream.write(encode({ typeUrl, value: StreamInit.encode({ id }).finish() }));
    assert.equal((await acknowledged).typeUrl, 'google.protobuf.Empty');
    return stream;
  }

  const transfer = (source: Any, destination: Any, progressStream: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const request = TransferRequest.encode({ source, destination, options: { progressStream } }).finish();
      grpc.makeUnaryRequest(
        '/containerd.services.transfer.v1.Transfer/Transfer',
        raw,
        raw,
        Buffer.from(request),
        metadata,
        (error) => (error ? reject(error) : resolve()),
      );
    });

  it('is a pull with everything it needs beside it', async () => {
    const progressId = 'progress-512345678-a_Zx';
    const progress = await openStream(progressId);
    const seen: Progress[] = [];
    progress.on('data', ({ typeUrl, value }: Any) => {
      assert.equal(typeUrl, 'containerd.types.transfer.Progress');
      seen.push(Progress.decode(value));
    });
    const progressEnded = new Promise((resolve) => progress.once('end', resolve));

    const authId = 'auth-512345679-b-Yw';
    const auth = await openStream(authId);
    const asked: AuthRequest[] = [];
    auth.on('data', ({ typeUrl, value }: Any) => {
      assert.equal(typeUrl, 'containerd.types.transfer.AuthRequest');
      asked.push(AuthRequest.decode(value));
      const response = AuthResponse.fromPartial({ authType: AuthType.CREDENTIALS, username: 'me', secret: 'secret' });
      auth.write(
        encode({ typeUrl: 'containerd.types.transfer.AuthResponse', value: AuthResponse.encode(response).finish() }),
      );
    });

    const { os, architecture } = hostPlatform();
    const platform = { os, architecture, variant: '', osVersion: '', osFeatures: [] };
    const source = OCIRegistry.fromPartial({ reference, resolver: { authStream: authId, hostDir: '' } });
    const destination = ImageStore.fromPartial({
      name: reference,
      allMetadata: true,
      platforms: [platform],
      unpacks: [{ platform, snapshotter: '' }],
    });
    await transfer(
      { typeUrl: 'containerd.types.transfer.OCIRegistry', value: OCIRegistry.encode(source).finish() },
      { typeUrl: 'containerd.types.transfer.ImageStore', value: ImageStore.encode(destination).finish() },
      progressId,
    );
    await progressEnded;
    auth.end();

    assert.deepEqual(
      asked.map(({ host, wwwauthenticate }) => [host, wwwauthenticate]),
      [[registry.host, ['Basic realm="r"']]],
    );
    assert.ok(images.images.has(reference));
    assert.deepEqual(snapshots.chain(image.chainId), image.diffIds);
    assert.ok(content.blobs.has(other.config.digest), 'the metadata of other platforms is here');
    assert.ok(!content.blobs.has(other.layers[0]?.digest ?? ''), 'their layers are not');
    const ofLayer = seen.filter(({ desc }) => desc?.digest === image.layers[1]?.digest);
    assert.equal(ofLayer[0]?.name, `layer-${image.layers[1]?.digest}`);
    assert.deepEqual(ofLayer[0]?.parents, [`manifest-${image.manifest.digest}`]);
    assert.ok(ofLayer.some(({ event }) => event === 'complete' || event === 'extracted'));
    const saved = seen.find(({ event }) => event === 'saved');
    assert.equal(saved?.name, reference);
    assert.equal(seen.find(({ desc }) => desc?.digest === image.manifest.digest)?.desc?.mediaType, OCI_MANIFEST);
  });

  /** containerd's WindowUpdate and Data, with its sizes. */
  const windowUpdate = (update: number): Buffer =>
    encode({ typeUrl: 'containerd.types.transfer.WindowUpdate', value: WindowUpdate.encode({ update }).finish() });
  const MAX_READ = 32 * 1024;
  const WINDOW = 2 * MAX_READ;

  /** Go's ReceiveStream: gives leave again whenever less than a window is open. */
  async function receive(stream: ClientDuplexStream<Buffer, Any>): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let open = 0;
    const give = () => {
      if (open >= WINDOW) return;
      stream.write(windowUpdate(WINDOW));
      open += WINDOW;
    };
    give();
    for await (const { typeUrl, value } of stream as AsyncIterable<Any>) {
      assert.equal(typeUrl, 'containerd.types.transfer.Data');
      const { data } = Data.decode(value);
      assert.ok(data.length <= MAX_READ, 'no message is larger than those of containerd');
      chunks.push(Buffer.from(data));
      open -= data.length;
      assert.ok(open >= 0, 'no byte comes without leave');
      give();
    }
    return Buffer.concat(chunks);
  }

  /** Go's SendStream: sends what it has leave for, and closes its side at the end. */
  async function send(stream: ClientDuplexStream<Buffer, Any>, bytes: Buffer): Promise<void> {
    let leave = 0;
    let more = Promise.withResolvers<void>();
    stream.on('data', ({ typeUrl, value }: Any) => {
      assert.equal(typeUrl, 'containerd.types.transfer.WindowUpdate');
      leave += WindowUpdate.decode(value).update;
      more.resolve();
    });
    for (let at = 0; at < bytes.length; ) {
      if (leave <= 0) {
        await more.promise;
        more = Promise.withResolvers<void>();
        continue;
      }
      const data = bytes.subarray(at, at + Math.min(MAX_READ, leave));
      stream.write(encode({ typeUrl: 'containerd.types.transfer.Data', value: Data.encode({ data }).finish() }));
      at += data.length;
      leave -= data.length;
    }
    stream.end();
  }

  it('and to export and import is served as well', async () => {
    const exportId = 'export-99-abcd';
    const exporting = await openStream(exportId);
    const received = receive(exporting);
    const source = ImageStore.fromPartial({ name: reference });
    const wanted = ImageExportStream.fromPartial({ stream: exportId });
    await transfer(
      { typeUrl: 'containerd.types.transfer.ImageStore', value: ImageStore.encode(source).finish() },
      { typeUrl: 'containerd.types.transfer.ImageExportStream', value: ImageExportStream.encode(wanted).finish() },
      '',
    );
    const archive = await received;
    assert.ok(archive.length > 700_000 && archive.length % 512 === 0);

    const importId = 'import-98-abcd';
    const importing = await openStream(importId);
    const sent = send(importing, archive);
    const { os, architecture } = hostPlatform();
    const platform = { os, architecture, variant: '', osVersion: '', osFeatures: [] };
    // What ctr image import sends without --base-name.
    const extra = { name: 'import-2026-11-24', isPrefix: true, allowOverwrite: true };
    const store = ImageStore.fromPartial({ extraReferences: [extra], platforms: [platform] });
    const found = ImageImportStream.fromPartial({ stream: importId });
    const before = images.images.get(reference)?.target;
    images.images.clear();
    await transfer(
      { typeUrl: 'containerd.types.transfer.ImageImportStream', value: ImageImportStream.encode(found).finish() },
      { typeUrl: 'containerd.types.transfer.ImageStore', value: ImageStore.encode(store).finish() },
      '',
    );
    await sent;
    assert.deepEqual(images.images.get(reference)?.target, before);
  });
});
