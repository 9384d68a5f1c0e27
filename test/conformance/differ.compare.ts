/** Layers made of the difference of two trees. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  linkSync,
  mkdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Descriptor } from '../../kernel/contracts/scope.js';
import { digestOf } from '../../lib/digest.js';
import { describeTree, treeDifferences } from '../harness/tree.js';
import type { Checks } from './differ.js';
import { bind, type DifferBench, rejects } from './differ.workbench.js';

const scope = { namespace: 'kit' };

function lowerTree(bench: DifferBench): string {
  const root = bench.tree();
  for (const name of ['d', 'd/e', 'gone']) mkdirSync(join(root, name));
  for (const name of ['same', 'changed', 'chmodded', 'd/e/deep', 'gone/inside', 'kind'])
    writeFileSync(join(root, name), name);
  return root;
}

function upperTree(bench: DifferBench, lower: string): string {
  const root = bench.tree();
  cpSync(lower, root, { recursive: true, preserveTimestamps: true });
  writeFileSync(join(root, 'changed'), 'another text');
  writeFileSync(join(root, 'd/e/new'), 'new');
  linkSync(join(root, 'd/e/new'), join(root, 'second'));
  symlinkSync('d/e', join(root, 'link'));
  chmodSync(join(root, 'chmodded'), 0o4711);
  rmSync(join(root, 'gone'), { recursive: true });
  rmSync(join(root, 'kind'));
  mkdirSync(join(root, 'kind'));
  return root;
}

const archiveOf = (layer: Descriptor, bytes: Buffer): Buffer =>
  layer.mediaType.endsWith('gzip') ? gunzipSync(bytes) : bytes;

export const compareChecks: Checks = {
  'makes a layer that turns the one tree into the other': async (bench, { can, encodings }) => {
    const lower = lowerTree(bench);
    const upper = upperTree(bench, lower);
    const trees = { lower: [bind(lower)], upper: [bind(upper)] };
    if (!can.compare) return rejects('UNIMPLEMENTED', bench.differ.compare(scope, trees));
    const layer = await bench.differ.compare(scope, trees);
    const bytes = await bench.read(layer);
    assert.deepEqual([layer.digest, layer.size], [digestOf(bytes), bytes.length]);
    assert.ok(Object.hasOwn(encodings, layer.mediaType), `media type ${layer.mediaType}`);
    await bench.apply(archiveOf(layer, bytes), lower);
    assert.deepEqual(treeDifferences(describeTree(lower), describeTree(upper), ['mtime']), []);
  },

  'keeps the times of what it holds': async (bench, { can }) => {
    if (!can.compare) return;
    const lower = lowerTree(bench);
    const upper = upperTree(bench, lower);
    utimesSync(join(upper, 'changed'), 1_500_000_000, 1_500_000_000);
    const layer = await bench.differ.compare(scope, { lower: [bind(lower)], upper: [bind(upper)] });
    await bench.apply(archiveOf(layer, await bench.read(layer)), lower);
    assert.equal(statSync(join(lower, 'changed')).mtimeMs, 1_500_000_000_000);
  },

  'makes an empty layer where nothing differs': async (bench, { can }) => {
    if (!can.compare) return;
    const lower = lowerTree(bench);
    const layer = await bench.differ.compare(scope, { lower: [bind(lower)], upper: [bind(lower)] });
    const target = bench.tree();
    await bench.apply(archiveOf(layer, await bench.read(layer)), target);
    assert.deepEqual(treeDifferences(describeTree(target), describeTree(bench.tree()), ['mtime']), []);
  },

  'makes the same layer again with a fixed time, of the media type asked for': async (bench, { can, encodings }) => {
    if (!can.compare) return;
    const lower = lowerTree(bench);
    const upper = upperTree(bench, lower);
    for (const mediaType of Object.keys(encodings)) {
      const more = { mediaType, sourceDateEpoch: 1_000_000_000n * 1_000_000_000n };
      const make = (): Promise<Descriptor> =>
        bench.differ.compare(scope, { lower: [bind(lower)], upper: [bind(upper)], ...more });
      const first = await make();
      assert.equal(first.mediaType, mediaType);
      if (can.reproduce) assert.deepEqual(await make(), first);
    }
  },

  'takes a fixed time in the place of every later one, where it says so': async (bench, { can }) => {
    if (!can.compare || !can.clampTimes) return;
    const lower = lowerTree(bench);
    const upper = upperTree(bench, lower);
    const trees = { lower: [bind(lower)], upper: [bind(upper)], sourceDateEpoch: 1_000_000_000n * 1_000_000_000n };
    utimesSync(join(upper, 'changed'), 1_600_000_000, 1_600_000_000);
    const first = await bench.differ.compare(scope, trees);
    utimesSync(join(upper, 'changed'), 1_700_000_000, 1_700_000_000);
    assert.deepEqual(await bench.differ.compare(scope, trees), first);
  },

  'refuses media types it cannot make': async (bench, { can }) => {
    if (!can.compare) return;
    const tree = [bind(bench.tree())];
    const trees = { lower: tree, upper: tree, mediaType: 'application/vnd.example.unknown.layer.v1' };
    await rejects('UNIMPLEMENTED', bench.differ.compare(scope, trees));
  },
};
