import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { connect } from '../../client/index.js';
import { Content } from '../../kernel/contracts/content.js';
import { SnapshotDoubts } from '../../kernel/contracts/snapshots.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { MemoryContent } from '../../test/harness/content.js';
import { providing, startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';
import { archive, file } from '../../test/hostile/tar.js';

const layer = archive(file('a', 'data'));
const doubts: SnapshotDoubts = { list: () => [], rebuild: async () => {}, settled: () => {} };

test('Apply and Diff over gRPC: descriptors, options and errors as containerd has them', async () => {
  await using dir = await scratch('diff');
  const content = new MemoryContent();
  const address = join(dir.path, 's');
  await using _ = await startTestKernel({
    plugins: [
      providing(Content, content),
      providing(SnapshotDoubts, doubts),
      'diff',
      'differs',
      'diff-service',
      'server-grpc',
    ],
    config: { 'server-grpc': { address } },
  });
  using connection = connect({ address, namespace: 'test' });
  const client = connection.diff;

  const blob = gzipSync(layer);
  const digest = content.put(blob);
  const target = join(dir.path, 'target');
  mkdirSync(target);
  const mounts = [{ type: 'bind', source: target, options: ['rbind', 'rw'] }];
  const diff = { mediaType: OCI_LAYER_GZIP, digest, size: BigInt(blob.length) };
  const { applied } = await client.apply({ diff, mounts, syncFs: true });
  assert.deepEqual(
    [applied?.mediaType, applied?.digest, applied?.size],
    [OCI_LAYER, digestOf(layer), BigInt(layer.length)],
  );
  assert.equal(readFileSync(join(target, 'a'), 'utf8'), 'data');

  writeFileSync(join(target, 'b'), 'more');
  const made = await client.diff({
    right: mounts,
    mediaType: OCI_LAYER,
    labels: { mine: 'yes' },
    sourceDateEpoch: { seconds: 1n, nanos: 0 },
  });
  const stored = content.blobs.get(made.diff?.digest ?? '');
  assert.equal(made.diff?.size, BigInt(stored?.bytes.length ?? 0));
  assert.deepEqual(stored?.labels, { mine: 'yes', 'containerd.io/uncompressed': made.diff?.digest });

  const refusals = [
    [() => client.apply({ mounts }), 'INVALID_ARGUMENT'],
    [() => client.apply({ diff: { ...diff, digest: digestOf(layer) }, mounts }), 'NOT_FOUND'],
    [() => client.apply({ diff: { ...diff, mediaType: 'text/plain' }, mounts }), 'UNIMPLEMENTED'],
    [() => client.apply({ diff, mounts: [{ type: 'bind', source: '/nowhere/at/all' }] }), 'NOT_FOUND'],
    [() => client.diff({ right: mounts, mediaType: 'text/plain' }), 'UNIMPLEMENTED'],
  ] as const;
  for (const [call, code] of refusals) {
    await assert.rejects(call(), (error) => hasCode(error, code), code);
  }
  using nameless = connect({ address });
  await assert.rejects(nameless.diff.apply({ diff, mounts }), (error) => hasCode(error, 'FAILED_PRECONDITION'));
});
