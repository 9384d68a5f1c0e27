/** Running a program to its end without ever blocking the event loop. */
import { spawn } from '../../../lib/linux/process.js';
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

/** Resolves when the program has ended, however. Throws as execve(2) answers when it cannot be started. */
export function runProgram(reaper: Reaper, { deadline, ...options }: ProgramRun): Promise<ProgramEnd> {
  const handle = reaper.watch(spawn(options));
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
