/** Real layers, unpacked in every form, against what umoci and GNU tar make of them. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { succeed } from '../../test/harness/command.js';
import { type ImageName, imageLayout } from '../../test/harness/images.js';
import { differencesFrom, umociTree } from '../../test/harness/reference.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { describeTree, type TreeEntry } from '../../test/harness/tree.js';
import { bind, FORMS, TestDiffer, unpackStack } from '../../test/harness/unpack.js';

const descriptor = z.object({ digest: z.string(), mediaType: z.string() });
const index = z.object({ manifests: z.array(descriptor) });
const manifest = z.object({ config: descriptor, layers: z.array(descriptor) });
const config = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) });

const differ = new TestDiffer();
after(() => differ[Symbol.asyncDispose]());

const blobOf = (layout: string, digest: string): string => join(layout, 'blobs', digest.replace(':', '/'));

function readImage(layout: string): { layers: { digest: string; mediaType: string; diffId: string; bytes: Buffer }[] } {
  const json = (digest: string): unknown => JSON.parse(readFileSync(blobOf(layout, digest), 'utf8'));
  const [first] = index.parse(JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))).manifests;
  const { config: image, layers } = manifest.parse(json(first?.digest ?? ''));
  const { diff_ids: diffIds } = config.parse(json(image.digest)).rootfs;
  return {
    layers: layers.map((layer, at) => ({
      ...layer,
      diffId: diffIds[at] ?? '',
      bytes: readFileSync(blobOf(layout, layer.digest)),
    })),
  };
}

for (const name of ['busybox', 'node', 'debian'] satisfies ImageName[]) {
  describe(`image ${name}`, () => {
    let dir: Scratch;
    let layout: string;
    let reference: TreeEntry[];

    before(async () => {
      dir = await scratch('images');
      layout = await imageLayout(name);
      reference = await umociTree(layout, join(dir.path, 'bundle'));
    });
    after(() => dir[Symbol.asyncDispose]());

    for (const form of FORMS) {
      test(`in form ${form} equals what umoci makes of it`, async () => {
        const place = join(dir.path, form);
        mkdirSync(place);
        const layers = readImage(layout).layers.map(({ bytes, mediaType }) => ({ bytes, mediaType }));
        const tree = await unpackStack(differ, layers, form, place);
        assert.deepEqual(differencesFrom(reference, tree, form !== 'plain'), []);
        assert.ok(tree.length > 1);
      });
    }

    test('layer by layer has the digests of its configuration, and equals what GNU tar makes of the first', async () => {
      for (const [at, { bytes, mediaType, diffId, digest }] of readImage(layout).layers.entries()) {
        const place = join(dir.path, `single-${at}`);
        mkdirSync(place, { mode: 0o755 });
        const applied = await differ.apply(bytes, { mounts: [bind(place)], mediaType, digest, size: bytes.length });
        assert.equal(applied.diffId, diffId);
        if (at > 0) continue;
        const expected = join(dir.path, 'gnu');
        mkdirSync(expected, { mode: 0o755 });
        const flags = [
          '-xpf',
          blobOf(layout, digest),
          '-C',
          expected,
          '--xattrs',
          '--xattrs-include=*',
          '--numeric-owner',
        ];
        await succeed('tar', flags, { timeout: 120_000 });
        const [actual, reference] = [place, expected].map((root) => describeTree(root, { withoutRoot: true }));
        assert.deepEqual(differencesFrom(reference ?? [], actual ?? []), []);
      }
    });
  });
}
