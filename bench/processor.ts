import { readFileSync } from 'node:fs';

/** Processor seconds of a process and of its children that have ended (proc_pid_stat(5)). */
export function processorSeconds(pid: number | 'self'): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) / TICKS;
}

/** USER_HZ, the same on every architecture there is for Node. */
const TICKS = 100;
