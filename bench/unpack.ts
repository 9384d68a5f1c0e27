/**
 * Unpacking a five-layer image: our workers, digests of both sides included,
 * against `igzip -dc | tar x`, which checks nothing, five at a time and one after
 * another. In one run, on one loop-mounted ext4: `node dist/bench/unpack.js`.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { gzipEngine } from '../lib/inflate/decompressor.js';
import { OCI_LAYER_GZIP } from '../lib/oci/media-types.js';
import { succeed } from '../test/harness/command.js';
import { bind, TestDiffer } from '../test/harness/unpack.js';
import { pipeline } from './floor.js';
import { benchImage, layerBlobs } from './image.js';
import { loopDisk } from './loop-disk.js';
import { processorSeconds } from './processor.js';
import { median, milliseconds } from './statistics.js';

const ROUNDS = 5;
const PIECE = 1 << 20;

const cache = process.env.KEELSON_IMAGE_CACHE ?? '/var/tmp/keelson-images';

async function ours(differ: TestDiffer, blob: string, target: string): Promise<void> {
  const file = await open(blob);
  const { size } = await file.stat();
  const sink = await differ.differ.open({
    mediaType: OCI_LAYER_GZIP,
    mounts: [bind(target)],
    size,
    digest: digestOf(blob),
  });
  const buffers = [Buffer.alloc(PIECE), Buffer.alloc(PIECE)];
  let written = Promise.resolve();
  for (let turn = 0; ; turn++) {
    const buffer = buffers[turn % 2] ?? Buffer.alloc(PIECE);
    const [{ bytesRead }] = await Promise.all([file.read(buffer, 0, PIECE), written]);
    if (bytesRead === 0) break;
    written = sink.write(buffer.subarray(0, bytesRead));
  }
  await written;
  await sink.end();
  await file.close();
}

const digestOf = (blob: string): string => `sha256:${blob.slice(blob.lastIndexOf('/') + 1)}`;

interface Sample {
  readonly wall: number;
  readonly processor: number;
}

type Unpack = (blob: string, target: string) => Promise<void>;

async function measure(root: string, blobs: readonly string[], unpack: Unpack, isParallel: boolean): Promise<Sample> {
  const targets = blobs.map((_, index) => join(root, `layer-${index}`));
  for (const target of targets) mkdirSync(target);
  const jobs = blobs.map((blob, index) => (): Promise<void> => unpack(blob, targets[index] ?? ''));
  const before = processorSeconds('self');
  const taken = await milliseconds(async () => {
    if (isParallel) await Promise.all(jobs.map((job) => job()));
    else for (const job of jobs) await job();
  });
  const processor = processorSeconds('self') - before;
  for (const target of targets) rmSync(target, { recursive: true });
  await succeed('sync', ['-f', root], { timeout: 120_000 });
  return { wall: taken / 1000, processor };
}

async function main(): Promise<void> {
  await mkdir(cache, { recursive: true });
  const blobs = [...(await layerBlobs(await benchImage(cache)))];
  await using disk = await loopDisk();
  await using differ = new TestDiffer();
  const variants: [string, Unpack, boolean][] = [
    ['igzip | tar, all at once', pipeline, true],
    ['keelson, all at once', (blob, target) => ours(differ, blob, target), true],
    ['igzip | tar, in turn', pipeline, false],
    ['keelson, in turn', (blob, target) => ours(differ, blob, target), false],
  ];
  const samples = new Map<string, Sample[]>(variants.map(([name]) => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, unpack, isParallel] of variants) {
      const sample = await measure(disk.path, blobs, unpack, isParallel);
      // The first round fills the page cache and starts the workers.
      if (round > 0) samples.get(name)?.push(sample);
    }
  }
  const sizes = await Promise.all(blobs.map(async (blob) => (await stat(blob)).size));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  process.stdout.write(`${cpus().length} processors, Linux ${release()}, gzip by ${gzipEngine().name}, `);
  process.stdout.write(`${blobs.length} layers, ${Math.round(total / 1e6)} MB; medians (smallest–largest)\n\n`);
  process.stdout.write('| | s | of the floor | processor s | of the floor |\n|---|---|---|---|---|\n');
  const [floor = []] = samples.values();
  for (const [name, taken] of samples) process.stdout.write(row(name, taken, floor));
}

function row(name: string, taken: readonly Sample[], floor: readonly Sample[]): string {
  const of = (key: keyof Sample, list: readonly Sample[]): number => median(list.map((sample) => sample[key]));
  const cells = (['wall', 'processor'] as const).map((key) => {
    const values = taken.map((sample) => sample[key]);
    const range = `${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)}`;
    return `${of(key, taken).toFixed(2)} (${range}) | **${(of(key, taken) / of(key, floor)).toFixed(2)}**`;
  });
  return `| ${name} | ${cells.join(' | ')} |\n`;
}

await main();
