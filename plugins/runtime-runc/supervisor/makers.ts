/** OCI runtimes that a supervisor had at work when it died. */
import { readdirSync, readlinkSync } from 'node:fs';
import { deadlineExceeded } from '../../../kernel/errors.js';
import { isErrno } from '../../../lib/errno.js';
import { readKernelFile } from '../../../lib/linux/kernel-file.js';
import { ProcessHandle } from '../../../lib/linux/pidfd.js';
import { isRuntimeLog } from './oci-runtime.js';

const SIGKILL = 9;
/** Milliseconds a killed process may take to go. */
const DEADLINE = 5000;

/** Arguments of a process; none when it is gone, or a thread of the kernel. */
export function argumentsOf(pid: number): string[] {
  try {
    return readKernelFile(`/proc/${pid}/cmdline`).split('\0');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return [];
    throw error;
  }
}

/** A handle of the process, if it is the one meant; looked at once more, now that it cannot be another. */
function openIf(pid: number, isMeant: (pid: number) => boolean): ProcessHandle | undefined {
  if (!isMeant(pid)) return undefined;
  try {
    const handle = new ProcessHandle(pid);
    if (isMeant(pid)) return handle;
    handle.close();
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
  return undefined;
}

/** Resolves to whether it ended within the deadline. */
const ended = (runtime: ProcessHandle): Promise<boolean> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), DEADLINE);
    runtime.onExit(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });

async function kill(runtime: ProcessHandle): Promise<void> {
  const gone = ended(runtime);
  if (runtime.alive()) runtime.signal(SIGKILL);
  if (!(await gone)) throw deadlineExceeded(`killed OCI runtime ${runtime.pid} is still there after ${DEADLINE} ms`);
}

async function forEachProcess(
  isMeant: (pid: number) => boolean,
  work: (runtime: ProcessHandle) => Promise<void>,
): Promise<void> {
  for (const pid of readdirSync('/proc').map(Number).filter(Number.isInteger)) {
    const runtime = openIf(pid, isMeant);
    if (runtime) await work(runtime).finally(() => runtime.close());
  }
}

/** Kills every OCI runtime that was told to write this file, and waits until they are gone. */
export const stopMakers = (pidFile: string): Promise<void> =>
  forEachProcess((pid) => argumentsOf(pid).includes(pidFile), kill);

/** Those commands make processes; whoever adopts what they were making stops them. */
const MAKING = ['create', 'restore', 'exec'];

/** An OCI runtime that a supervisor of this directory has started for something else than making a process. */
function isAtWork(pid: number): boolean {
  const args = argumentsOf(pid);
  if (!args.some(isRuntimeLog) || args.some((arg) => MAKING.includes(arg))) return false;
  try {
    return readlinkSync(`/proc/${pid}/cwd`) === process.cwd();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return false;
    throw error;
  }
}

/** Waits until what an earlier supervisor has begun (starts, deletes, ...) has come to its end, so that the state is what it seems. */
export const awaitRuntimes = (): Promise<void> =>
  forEachProcess(isAtWork, async (runtime) => {
    if (!(await ended(runtime))) await kill(runtime);
  });
