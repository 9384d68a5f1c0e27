/** Layers of very many entries: memory stays bounded, and what the filesystem does not take is told. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { codeOf } from '../../kernel/errors.js';
import { OCI_LAYER } from '../../lib/oci/media-types.js';
import { scratch } from '../harness/scratch.js';
import { bind, TestDiffer } from '../harness/unpack.js';
import { dir, END, file, hardlink } from './tar.js';

const COUNT = 200_000;
const MEBIBYTE = 2 ** 20;

let differ: TestDiffer;
before(() => {
  differ = new TestDiffer();
});
after(() => differ[Symbol.asyncDispose]());

test(`${COUNT} entries take no memory of their own`, async () => {
  await using place = await scratch('entries');
  const names = Array.from({ length: 1000 }, (_, index) => dir(`d${index}/`));
  const batch = Buffer.concat(names);
  const sink = await differ.differ.open({ mediaType: OCI_LAYER, mounts: [bind(place.path)] });
  const start = process.memoryUsage.rss();
  let most = 0;
  try {
    for (let written = 0; written < COUNT; written += names.length) {
      await sink.write(batch);
      most = Math.max(most, process.memoryUsage.rss() - start);
    }
    await sink.write(END);
    await sink.end();
  } finally {
    await sink.abort();
  }
  assert.equal(readdirSync(place.path).length, names.length);
  // 256 MiB for a million, and what a thread takes that has just begun.
  assert.ok(most < 128 * MEBIBYTE, `${Math.round(most / MEBIBYTE)} MiB more`);
});

test('hard links beyond what filesystems count are made, or refused as too many', async () => {
  await using place = await scratch('links');
  const count = 70_000;
  const links = Array.from({ length: count }, (_, index) => hardlink(`l${index}`, 'f'));
  const layer = Buffer.concat([file('f', 'x'), ...links, END]);
  const outcome = await differ.apply(layer, { mounts: [bind(place.path)] }).then(() => 'made', codeOf);
  const made = statSync(join(place.path, 'f')).nlink;
  // 65,000 on ext4, 65,535 on btrfs; LINK_MAX of others is beyond that.
  if (outcome === 'made') assert.equal(made, count + 1);
  else assert.ok(outcome !== 'INTERNAL' && made > 10_000, `${outcome} after ${made}`);
});
