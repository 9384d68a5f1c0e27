/** The most memory that a daemon and its helper processes hold at a time. */
import { readdirSync, readFileSync } from 'node:fs';
import { isErrno } from '../lib/errno.js';

/** Milliseconds between two looks; a daemon's own peak, which the kernel keeps, misses nothing. */
const EVERY = 50;
const PAGE_MB = 4096 / 2 ** 20;

/** What the file holds, or nothing when the process is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}

function childrenOf(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
}

/** Megabytes resident of the process and of its children. */
function resident(pid: number): number {
  const all = [pid, ...childrenOf(pid)];
  return all.reduce((sum, each) => sum + Number(read(`/proc/${each}/statm`).split(' ')[1] ?? 0) * PAGE_MB, 0);
}

const highWater = (pid: number): number => Number(/VmHWM:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024;

/** Runs `work`; megabytes resident at the worst moment, helper processes of the daemon `pid` included. */
export async function peakDuring(pid: number, work: () => Promise<unknown>): Promise<number> {
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, resident(pid));
  }, EVERY);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return Math.max(peak, highWater(pid));
}
