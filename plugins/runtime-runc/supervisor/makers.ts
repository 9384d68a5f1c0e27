/** OCI runtimes that a supervisor had at work when it died. */
import { readdirSync, readFileSync } from 'node:fs';
import { deadlineExceeded } from '../../../kernel/errors.js';
import { isErrno } from '../../../lib/errno.js';
import { ProcessHandle } from '../../../lib/linux/pidfd.js';

const SIGKILL = 9;
/** Milliseconds a killed process may take to go. */
const DEADLINE = 5000;

/** Arguments of a process; none when it is gone, or a thread of the kernel. */
function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return [];
    throw error;
  }
}

/** A handle of the process, if it is a runtime at work on that file; looked at once more, now that it cannot be another. */
function openMaker(pid: number, pidFile: string): ProcessHandle | undefined {
  try {
    const handle = new ProcessHandle(pid);
    if (argumentsOf(pid).includes(pidFile)) return handle;
    handle.close();
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
  return undefined;
}

const ended = (maker: ProcessHandle): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(deadlineExceeded(`killed OCI runtime ${maker.pid} is still there after ${DEADLINE} ms`)),
      DEADLINE,
    );
    maker.onExit(() => {
      clearTimeout(timer);
      resolve();
    });
    maker.signal(SIGKILL);
  });

/** Kills every OCI runtime that was told to write this file, and waits until they are gone. */
export async function stopMakers(pidFile: string): Promise<void> {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  for (const pid of pids) {
    if (!argumentsOf(pid).includes(pidFile)) continue;
    const maker = openMaker(pid, pidFile);
    if (maker) await ended(maker).finally(() => maker.close());
  }
}
