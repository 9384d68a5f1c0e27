import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import pino from 'pino';
import type { AppliedLayer, ApplyLayer } from '../../kernel/contracts/diff.js';
import { OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD } from '../../lib/oci/media-types.js';
import { scratch } from '../../test/harness/scratch.js';
import * as tar from '../../test/hostile/tar.js';
import { WalkingDiffer } from './differ.js';
import { WorkerPool } from './pool.js';

const pool = new WorkerPool(pino({ level: 'silent' }));
after(() => pool.close());
const LIMITS = { bytes: 2 ** 30, ratio: 1000, inodes: 100_000 };

async function apply(bytes: Buffer, root: string, rest: Partial<ApplyLayer> = {}): Promise<AppliedLayer> {
  const differ = new WalkingDiffer({ pool, limits: LIMITS, mountDirectory: '/nowhere' });
  const mounts = [{ type: 'bind', source: root, target: '', options: ['rw', 'rbind'] }];
  const sink = await differ.open({ mediaType: OCI_LAYER, mounts, ...rest });
  try {
    await sink.write(bytes);
    return await sink.end();
  } finally {
    await sink.abort();
  }
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

test('a layer of every compression has the digest and size of its archive, trailing bytes included', async () => {
  const bytes = Buffer.concat([tar.archive(tar.file('a', 'data')), Buffer.from('trailing')]);
  const forms: [string, Buffer][] = [
    [OCI_LAYER, bytes],
    [OCI_LAYER_GZIP, gzipSync(bytes)],
    [OCI_LAYER_GZIP, Buffer.concat([gzipSync(bytes.subarray(0, 700)), gzipSync(bytes.subarray(700))])],
    [OCI_LAYER_ZSTD, zstdCompressSync(bytes)],
    ['application/vnd.docker.image.rootfs.diff.tar', gzipSync(bytes)],
  ];
  for (const [mediaType, blob] of forms) {
    await using dir = await scratch('apply');
    const result = await apply(blob, dir.path, { mediaType });
    assert.deepEqual(result, { diffId: sha256(bytes), size: bytes.length, unresolved: false });
    assert.equal(readFileSync(join(dir.path, 'a'), 'utf8'), 'data');
  }
});
