/** What a daemon and all its helper processes hold in memory, the containers' own processes left out. */
import { readFile, readlink } from 'node:fs/promises';
import { processesOf, type TestRun } from '../test/harness/leaks.js';

export interface Memory {
  /** Megabytes resident; pages shared by two processes count twice. */
  readonly resident: number;
  /** Megabytes proportional (proc(5), smaps_rollup): shared pages are split among those who map them. */
  readonly proportional: number;
  readonly processes: number;
}

const kilobytes = (text: string, field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);

/** Memory of the processes of that run that live in the host's process namespace. */
export async function memoryOf(run: TestRun): Promise<Memory> {
  const host = await readlink('/proc/self/ns/pid');
  let resident = 0;
  let proportional = 0;
  let processes = 0;
  for (const { pid } of await processesOf(run)) {
    if ((await readlink(`/proc/${pid}/ns/pid`)) !== host) continue;
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
    resident += kilobytes(rollup, 'Rss') / 1024;
    proportional += kilobytes(rollup, 'Pss') / 1024;
    processes += 1;
  }
  return { resident, proportional, processes };
}
