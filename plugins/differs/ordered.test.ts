import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import pino from 'pino';
import type { Differ } from '../../kernel/contracts/diff.js';
import { codeOf, hasCode, unimplemented } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { OCI_LAYER, OCI_LAYER_GZIP } from '../../lib/oci/media-types.js';
import { MemoryContent } from '../../test/harness/content.js';
import { scratch } from '../../test/harness/scratch.js';
import { bind, TestDiffer } from '../../test/harness/unpack.js';
import { archive, file } from '../../test/hostile/tar.js';
import { OrderedDiff } from './ordered.js';
import { StreamProcessors } from './stream-processors.js';

const SCOPE = { namespace: 'test' };
const processors = new StreamProcessors({}, 1000);
const layer = archive(file('a', 'x'.repeat(3_000_000)));

let real: TestDiffer;
before(() => {
  real = new TestDiffer();
});
after(() => real[Symbol.asyncDispose]());

const refusing: Differ = {
  open: async () => {
    throw unimplemented('not mine');
  },
  compare: async () => {
    throw unimplemented('not mine either');
  },
};

function diffOf(content: MemoryContent, order: readonly string[], differs: [string, Differ][]): OrderedDiff {
  const ahead = { staging: () => [], most: 0, patience: 0, log: pino({ level: 'silent' }) };
  return new OrderedDiff({ content, order, differs: new Map(differs), sync: false, processors, ahead });
}

test('a blob is read from content, verified, unpacked by the first differ that does it', async () => {
  await using dir = await scratch('differs');
  const content = new MemoryContent();
  const bytes = gzipSync(layer, { level: 1 });
  const digest = content.put(bytes);
  const diff = diffOf(
    content,
    ['other', 'walking'],
    [
      ['walking', real.differ],
      ['other', refusing],
    ],
  );
  const blob = { mediaType: OCI_LAYER_GZIP, digest, size: bytes.length };
  const applied = await diff.apply(SCOPE, blob, { mounts: [bind(dir.path)] });
  assert.deepEqual(applied, { mediaType: OCI_LAYER, digest: digestOf(layer), size: layer.length });
  assert.equal(readFileSync(join(dir.path, 'a'), 'utf8').length, 3_000_000);
});

test('bytes that are not those of the digest are refused', async () => {
  await using dir = await scratch('differs');
  const content = new MemoryContent();
  const digest = content.put(layer);
  const bad = Buffer.from(layer);
  bad[600] = 1;
  content.blobs.set(digest, { bytes: bad, labels: {} });
  const diff = diffOf(content, ['walking'], [['walking', real.differ]]);
  const applying = diff.apply(SCOPE, { mediaType: OCI_LAYER, digest, size: 1 }, { mounts: [bind(dir.path)] });
  await assert.rejects(applying, (error) => hasCode(error, 'FAILED_PRECONDITION'));
});

test('no blob, no differ, none that wants it, one that is not loaded', async () => {
  const content = new MemoryContent();
  const digest = content.put(layer);
  const apply = (diff: OrderedDiff, which = digest): Promise<unknown> =>
    diff
      .apply(SCOPE, { mediaType: OCI_LAYER, digest: which, size: 1 }, { mounts: [bind('/nowhere')] })
      .then(() => 'done', codeOf);
  assert.equal(await apply(diffOf(content, [], []), digestOf(Buffer.from('other'))), 'NOT_FOUND');
  assert.equal(await apply(diffOf(content, [], [])), 'UNIMPLEMENTED');
  assert.equal(await apply(diffOf(content, ['other'], [['other', refusing]])), 'UNIMPLEMENTED');
  assert.equal(await apply(diffOf(content, ['gone'], [['other', refusing]])), 'NOT_FOUND');
});

test('any other error ends the search', async () => {
  const content = new MemoryContent();
  const digest = content.put(layer);
  const diff = diffOf(
    content,
    ['walking', 'other'],
    [
      ['walking', real.differ],
      ['other', refusing],
    ],
  );
  const applying = diff.apply(SCOPE, { mediaType: OCI_LAYER, digest, size: 1 }, { mounts: [bind('/nowhere')] });
  await assert.rejects(applying, (error) => hasCode(error, 'NOT_FOUND'));
  await assert.rejects(diffOf(content, ['other'], [['other', refusing]]).compare(SCOPE, { lower: [], upper: [] }), {
    code: 'UNIMPLEMENTED',
  });
});
