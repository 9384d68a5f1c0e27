/**
 * Side by side with Debian's containerd, in one run, on one loop-mounted ext4:
 * `sh bench/run.sh [pull] [run] [start] [memory]`, all of them when none is named.
 */
import { mkdir } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { Daemon } from '../test/harness/daemon.js';
import { imageLayout } from '../test/harness/images.js';
import { startRegistry } from '../test/harness/registry.js';
import { benchMemory, benchRun, benchStart } from './execution.js';
import { benchImage } from './image.js';
import { loopDisk } from './loop-disk.js';
import { benchPull } from './pull.js';
import { type Comparison, table } from './statistics.js';

const PULL_ROUNDS = 3;
const RUN_ROUNDS = 20;
const START_ROUNDS = 7;
const CONTAINERS = 20;

const cache = process.env.KEELSON_IMAGE_CACHE ?? '/var/tmp/keelson-images';

async function runBench(busybox: string): Promise<Comparison[]> {
  await using ours = await Daemon.start({ kind: 'keelsond' });
  await using peer = await Daemon.start({ kind: 'containerd' });
  for (const daemon of [ours, peer]) await daemon.ctr('bench').ok('images', 'pull', '--plain-http', busybox);
  return benchRun({ keelsond: ours, containerd: peer }, busybox, RUN_ROUNDS);
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
  if (layout) rows.push(...(await benchPull(await registry.push(layout, 'bench'), PULL_ROUNDS)));
  if (chosen('run')) rows.push(...(await runBench(busybox)));
  if (chosen('start')) rows.push(...(await benchStart(START_ROUNDS)));
  if (chosen('memory')) rows.push(...(await benchMemory(busybox, CONTAINERS)));
  process.stdout.write(
    `${cpus().length} processors (${cpus()[0]?.model}), Linux ${release()}; medians (smallest–largest)\n\n`,
  );
  process.stdout.write(`${table(rows)}\n`);
}

await main(process.argv.slice(2));
