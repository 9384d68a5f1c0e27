/** How long starting a program blocks the event loop of a process with a gigabyte in memory. */
import { execFile } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ProcessHandle } from '../lib/linux/pidfd.js';
import { spawn } from '../lib/linux/process.js';
import type { Comparison } from './statistics.js';

const RESIDENT = 2 ** 30;
const ROUNDS = 50;
/** Milliseconds that no spawn may block the loop. */
export const LIMIT = 5;
const PROGRAM = '/bin/true';

async function ours(): Promise<number> {
  const nothing = openSync('/dev/null', 'r+');
  const begun = performance.now();
  const handle = new ProcessHandle(spawn({ path: PROGRAM, args: [], env: {}, files: [nothing, nothing, nothing] }));
  const blocked = performance.now() - begun;
  await new Promise<void>((resolve) => handle.onExit(resolve));
  handle.exitStatus();
  handle.close();
  closeSync(nothing);
  return blocked;
}

async function nodes(): Promise<number> {
  const ended = Promise.withResolvers<void>();
  const begun = performance.now();
  const child = execFile(PROGRAM, () => ended.resolve());
  const blocked = performance.now() - begun;
  child.stdin?.end();
  await ended.promise;
  return blocked;
}

async function repeated(once: () => Promise<number>): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) times.push(await once());
  return times;
}

/** Ours is how the daemon and the supervisor start programs; the peer is Node's own way. */
export async function benchSpawn(): Promise<Comparison[]> {
  const ballast = Buffer.alloc(RESIDENT, 1);
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const mine = await repeated(ours);
  delays.disable();
  process.stdout.write(`spawn at ${(process.memoryUsage().rss / 2 ** 30).toFixed(1)} GB resident: `);
  process.stdout.write(
    `${mine.filter((time) => time > LIMIT).length} of ${ROUNDS} spawns took more than ${LIMIT} ms, `,
  );
  process.stdout.write(`longest delay of the loop meanwhile ${(delays.max / 1e6).toFixed(1)} ms, `);
  process.stdout.write('waits for a processor included\n');
  const theirs = await repeated(nodes);
  ballast.fill(0, 0, 1);
  return [
    {
      what: 'event loop blocked by a spawn at 1 GB: posix_spawn beside child_process',
      unit: 'ms',
      ours: mine,
      peer: theirs,
    },
  ];
}
