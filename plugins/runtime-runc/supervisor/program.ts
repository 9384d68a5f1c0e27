/** Running a program to its end without ever blocking the event loop. */
import { resourceExhausted } from '../../../kernel/errors.js';
import { isErrno } from '../../../lib/errno.js';
import type { ProcessHandle } from '../../../lib/linux/pidfd.js';
import { sendSignal, spawn } from '../../../lib/linux/process.js';
import type { Reaper } from './reaper.js';

export interface ProgramRun {
  /** Absolute. */
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Its descriptors 0, 1, 2, ... */
  readonly files: readonly number[];
  /** Milliseconds until it is killed. */
  readonly deadline: number;
}

export interface ProgramEnd {
  readonly exitStatus: number;
  /** It was killed because its deadline had passed. */
  readonly late: boolean;
}

const SIGKILL = 9;

/** RESOURCE_EXHAUSTED when there may be no more processes. */
function start(options: Omit<ProgramRun, 'deadline'>): number {
  try {
    return spawn(options);
  } catch (error) {
    if (!isErrno(error, 'EAGAIN')) throw error;
    throw resourceExhausted(`starting "${options.path}": there may be no more processes`, {
      remedy: 'raise pids.max of the control group, or kernel.pid_max',
      cause: error,
    });
  }
}

/** A program that nobody could watch must not run on: it would make things nobody knows of. */
function watch(reaper: Reaper, pid: number): ProcessHandle {
  try {
    return reaper.watch(pid);
  } catch (error) {
    sendSignal(pid, SIGKILL);
    throw error;
  }
}

/** Resolves when the program has ended, however. Throws as execve(2) answers when it cannot be started. */
export function runProgram(reaper: Reaper, { deadline, ...options }: ProgramRun): Promise<ProgramEnd> {
  const handle = watch(reaper, start(options));
  return new Promise((resolve) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      handle.signal(SIGKILL);
    }, deadline);
    handle.onExit(() => {
      clearTimeout(timer);
      const exitStatus = handle.exitStatus()?.exitStatus ?? 255;
      reaper.release(handle);
      resolve({ exitStatus, late });
    });
  });
}
