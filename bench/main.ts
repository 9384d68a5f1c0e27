/**
 * Side by side with Debian's containerd, in one run, on one loop-mounted ext4:
 * `sh bench/run.sh [pull] [content] [run] [spawn] [start] [memory] [metadata] [gc] [ranges]`, all of them when none is named.
 */
import { mkdir } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { Daemon } from '../test/harness/daemon.js';
import { imageLayout } from '../test/harness/images.js';
import { startRegistry } from '../test/harness/registry.js';
import { benchMemory } from './containers.js';
import { benchContent } from './content.js';
import { benchRun, benchStart } from './execution.js';
import { benchGc } from './gc.js';
import { benchImage, layerBlobs } from './image.js';
import { loopDisk } from './loop-disk.js';
import { benchMetadata } from './metadata.js';
import { benchPull } from './pull.js';
import { benchRanges } from './ranges.js';
import { benchSpawn } from './spawn.js';
import { benchStarts } from './starts.js';
import { type Comparison, table } from './statistics.js';

const PULL_ROUNDS = 3;
const CONTENT_ROUNDS = 3;
const RUN_ROUNDS = 30;
const STARTS_ROUNDS = 3;
const START_ROUNDS = 7;
const CONTAINERS = [20, 100];
const METADATA_ROUNDS = 3;
const RANGES_ROUNDS = 3;

const cache = process.env.KEELSON_IMAGE_CACHE ?? '/var/tmp/keelson-images';

async function runBench(busybox: string): Promise<Comparison[]> {
  await using ours = await Daemon.start({ kind: 'keelsond' });
  await using peer = await Daemon.start({ kind: 'containerd' });
  for (const daemon of [ours, peer]) await daemon.ctr('bench').ok('images', 'pull', '--plain-http', busybox);
  const daemons = { keelsond: ours, containerd: peer };
  const runs = await benchRun(daemons, busybox, RUN_ROUNDS);
  return [...runs, ...(await benchStarts(daemons, busybox, STARTS_ROUNDS))];
}

async function main(wanted: readonly string[]): Promise<void> {
  await mkdir(cache, { recursive: true });
  process.env.KEELSON_IMAGE_CACHE = cache;
  const chosen = (name: string): boolean => wanted.length === 0 || wanted.includes(name);
  const layout = chosen('pull') ? await benchImage(cache) : undefined;
  const busyboxLayout = await imageLayout('busybox');
  await using disk = await loopDisk();
  process.env.KEELSON_TEST_DIR = disk.path;
  await using registry = await startRegistry();
  const busybox = await registry.push(busyboxLayout, 'busybox');
  const rows: Comparison[] = [];
  if (layout) {
    const reference = await registry.push(layout, 'bench');
    rows.push(...(await benchPull(reference, await layerBlobs(layout), disk.path, PULL_ROUNDS)));
  }
  if (chosen('ranges')) rows.push(...(await benchRanges(registry, cache, RANGES_ROUNDS)));
  if (chosen('content')) rows.push(...(await benchContent(disk.path, CONTENT_ROUNDS)));
  if (chosen('run')) rows.push(...(await runBench(busybox)));
  if (chosen('start')) rows.push(...(await benchStart(START_ROUNDS)));
  if (chosen('spawn')) rows.push(...(await benchSpawn()));
  if (chosen('memory')) rows.push(...(await benchMemory(busybox, CONTAINERS)));
  if (chosen('metadata')) rows.push(...(await benchMetadata(METADATA_ROUNDS)));
  if (chosen('gc')) rows.push(...(await benchGc()));
  process.stdout.write(
    `${cpus().length} processors (${cpus()[0]?.model}), Linux ${release()}; medians (smallest–largest)\n\n`,
  );
  process.stdout.write(`${table(rows)}\n`);
}

await main(process.argv.slice(2));
