/** Sessions (setsid(2)): a program and whatever it has started, unless that went its own way. */
import { readdirSync } from 'node:fs';
import { uptime } from 'node:os';
import { hasCode } from '../../kernel/errors.js';
import { ProcessHandle } from './pidfd.js';
import { readStat } from './proc.js';

const SIGKILL = 9;
/** Clock ticks of proc_pid_stat(5) in a second; 100 on every architecture that Node runs on. */
const TICKS = 100;

/** A session whose leader has ended: its number may come to name another one. */
export interface LeftSession {
  readonly id: number;
  /** Clock ticks between boot and the end of the leader. */
  readonly leftAt: number;
}

/**
 * To be called when the leader has ended, before it can have been replaced. The
 * uptime is a number of hundredths, most of which are no exact fraction: rounded, or the last tick is lost.
 */
export const leftSession = (leader: number): LeftSession => ({ id: leader, leftAt: Math.round(uptime() * TICKS) });

function isMember(pid: number, { id, leftAt }: LeftSession): boolean {
  const stat = readStat(pid);
  return stat !== undefined && stat.session === id && stat.state !== 'Z' && Number(stat.startTime) <= leftAt;
}

function kill(pid: number, session: LeftSession): void {
  let handle: ProcessHandle | undefined;
  try {
    handle = new ProcessHandle(pid);
    // Looked at again: the number may have passed to another process before it was held.
    if (isMember(pid, session)) handle.signal(SIGKILL);
  } catch (error) {
    // It has ended by itself.
    if (!hasCode(error, 'NOT_FOUND')) throw error;
  } finally {
    handle?.close();
  }
}

/** Kills what is left of a session; how many processes that were. */
export function killSession(session: LeftSession): number {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  const members = pids.filter((pid) => isMember(pid, session));
  for (const pid of members) kill(pid, session);
  return members.length;
}
