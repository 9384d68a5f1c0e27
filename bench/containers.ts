/** What containers that run cost in memory. */
import { setTimeout as delay } from 'node:timers/promises';
import { Daemon, type DaemonKind } from '../test/harness/daemon.js';
import { ctr } from './execution.js';
import { type Memory, memoryOf } from './memory.js';
import { namesOf, removeAll, startAll } from './starts.js';
import type { Comparison } from './statistics.js';

/** Milliseconds after a pull until a daemon is called idle. */
const SETTLED = 45_000;
/** Milliseconds after the last start until its containers just run. */
const RUNNING = 10_000;

/** Memory of a fresh daemon some time after one pull: idle, then with each number of containers that have slept for some time. */
async function footprints(kind: DaemonKind, image: string, counts: readonly number[]): Promise<Memory[]> {
  await using daemon = await Daemon.start({ kind });
  const run = { directory: daemon.directory, id: '' };
  await ctr(daemon, 'images', 'pull', '--plain-http', image);
  await delay(SETTLED);
  const memory = [await memoryOf(run)];
  let running = 0;
  for (const count of counts) {
    await startAll(daemon, image, namesOf('sleep', running, count));
    running = count;
    await delay(RUNNING);
    memory.push(await memoryOf(run));
  }
  await removeAll(daemon, namesOf('sleep', 0, running));
  return memory;
}

type Size = 'resident' | 'proportional';

/** `counts`: in rising order. */
export async function benchMemory(image: string, counts: readonly number[]): Promise<Comparison[]> {
  const ours = await footprints('keelsond', image, counts);
  const peer = await footprints('containerd', image, counts);
  const moments = [0, ...counts].map((count, index) => ({
    when: count === 0 ? 'idle' : `with ${count} containers`,
    index,
  }));
  const of = (memory: readonly Memory[], index: number, size: Size): number => memory[index]?.[size] ?? Number.NaN;
  const rows = moments.flatMap(({ when, index }) =>
    (['resident', 'proportional'] as const).map((size) => ({
      what: `${size} memory ${when}`,
      unit: 'MB',
      ours: [of(ours, index, size)],
      peer: [of(peer, index, size)],
    })),
  );
  const [first = 0, last = 0] = [counts[0], counts.at(-1)];
  const each = (memory: readonly Memory[]): number =>
    ((of(memory, counts.length, 'proportional') - of(memory, 1, 'proportional')) * 1024) / (last - first);
  return [
    ...rows,
    { what: 'proportional memory of each further container', unit: 'KB', ours: [each(ours)], peer: [each(peer)] },
  ];
}
