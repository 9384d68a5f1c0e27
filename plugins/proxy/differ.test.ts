/** A differ in another process: it is handed blobs by way of content, and what it says is checked. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { DiffDefinition } from '../../api/gen/services/diff.js';
import { type Client, connect } from '../../client/index.js';
import { Content } from '../../kernel/contracts/content.js';
import { Diff } from '../../kernel/contracts/diff.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Leases } from '../../kernel/contracts/leases.js';
import { hasCode } from '../../kernel/errors.js';
import { Registry } from '../../kernel/registry.js';
import { digestOf } from '../../lib/digest.js';
import { type Handlers, implement } from '../../lib/rpc/definition.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { GrpcServer } from '../server-grpc/server.js';
import { proxyPlugin } from './index.js';

const LAYER = Buffer.from('the layer');
const BLOB = gzipSync(LAYER);
const MEDIA_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const TAR = 'application/vnd.oci.image.layer.v1.tar';
const A = { namespace: 'a' };

async function read(client: Client, digest: string): Promise<Buffer> {
  const pieces = await Array.fromAsync(client.content.read({ digest, offset: 0n, size: 0n }));
  return Buffer.concat(pieces.map(({ data }) => data));
}

/** "Unpacks" by writing the uncompressed layer into a file of the first mount. */
const unpacking = (client: Client): Handlers<typeof DiffDefinition> => ({
  async apply({ diff, mounts }) {
    const layer = gunzipSync(await read(client, diff?.digest ?? ''));
    writeFileSync(join(mounts[0]?.source ?? '', 'unpacked'), layer);
    return { applied: { mediaType: TAR, digest: digestOf(layer), size: BigInt(layer.length), annotations: {} } };
  },
  async diff({ mediaType }) {
    return { diff: { mediaType, digest: digestOf(BLOB), size: BigInt(BLOB.length), annotations: {} } };
  },
});

describe('a differ in another process', () => {
  it('reads the layer from content, also one that comes as a stream, and leaves nothing there', async () => {
    await using directory = await scratch('differ');
    const [address, socket] = [join(directory.path, 'd'), join(directory.path, 's')];
    const target = join(directory.path, 'target');
    mkdirSync(target);
    const proxy = proxyPlugin('other', 'io.containerd.differ.v1');
    await using kernel = await startTestKernel({
      plugins: ['content', 'events', 'metadata', 'differs', 'content-service', 'server-grpc', proxy],
      config: {
        'server-grpc': { address },
        differs: { default: ['other'] },
        other: { type: 'diff', address: socket, namespace: 'lent' },
      },
    });
    using client = connect({ address, namespace: 'lent' });
    const registry = new Registry();
    registry.offer(GrpcServices, 'diff', implement(DiffDefinition, unpacking(client)));
    const server = new GrpcServer({
      services: registry.many(GrpcServices),
      isExpected: () => false,
      limits: { maxReceive: 1 << 24, maxSend: 1 << 24, drain: 0 },
      log: pino({ level: 'silent' }),
    });
    await server.start({ path: socket, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });

    const diff = kernel.get(Diff);
    const mounts = [{ type: 'bind', source: target, target: '', options: ['rbind'] }];
    const sink = await diff.open({ mediaType: MEDIA_TYPE, mounts });
    await sink.write(BLOB.subarray(0, 5));
    await sink.write(BLOB.subarray(5));
    const streamed = await sink.end();
    assert.deepEqual(streamed, { diffId: digestOf(LAYER), size: LAYER.length, unresolved: false });
    assert.deepEqual(readdirSync(target), ['unpacked']);

    const writer = await kernel.get(Content).writer(A, { ref: 'r' });
    await writer.write(BLOB);
    const { digest, size } = await writer.commit({ labels: { 'containerd.io/gc.root': 'x' } });
    const applied = await diff.apply(A, { mediaType: MEDIA_TYPE, digest, size }, { mounts });
    assert.deepEqual(applied, { mediaType: TAR, digest: digestOf(LAYER), size: LAYER.length });
    assert.deepEqual(await kernel.get(Leases).list({ namespace: 'lent' }), [], 'its lease has ended');

    assert.equal((await diff.compare(A, { lower: [], upper: [], mediaType: MEDIA_TYPE })).digest, digestOf(BLOB));
    const detached = diff.open({ mediaType: MEDIA_TYPE, mounts, detached: true });
    await assert.rejects(detached, (error) => hasCode(error, 'UNIMPLEMENTED'));

    await server.stop();
    const dead = await diff.open({ mediaType: MEDIA_TYPE, mounts });
    await dead.write(BLOB);
    await assert.rejects(dead.end(), (error) => hasCode(error, 'UNAVAILABLE'));
    await dead.abort();
    assert.deepEqual(await kernel.get(Leases).list({ namespace: 'lent' }), []);
  });
});
