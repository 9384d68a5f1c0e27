/** Starting a supervisor's program. */
import { closeSync, constants, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unavailable } from '../../kernel/errors.js';
import { makePipe } from '../linux/fifo.js';
import { ProcessHandle } from '../linux/pidfd.js';
import { watchReadable } from '../linux/poll.js';
import { spawn } from '../linux/process.js';
import { processPath } from '../program.js';
import { formatKept, type Kept, NOTHING_KEPT } from './kept.js';
import { writeIdentity } from './layout.js';
import { type SupervisorSettings, toArguments } from './settings.js';

/** Milliseconds a supervisor has to become ready, adoption of what it finds included. */
const READY_DEADLINE = 30_000;
/** Milliseconds that one which does not come up has to end. */
const END_DEADLINE = 3000;
const SIGKILL = 9;

/** The first descriptor of the child that it may inherit: before are 0, 1, 2, and 3 to tell that it is ready. */
export const FIRST_KEPT = 4;

/** Descriptors for the child, from {@link FIRST_KEPT} on, and what they are. */
export interface Inheritance {
  readonly files: readonly number[];
  readonly kept: Kept;
}

const NOTHING: Inheritance = { files: [], kept: NOTHING_KEPT };

/** A small heap: a supervisor holds a few objects per container. */
const NODE_FLAGS = [
  '--max-semi-space-size=1',
  '--max-old-space-size=256',
  '--v8-pool-size=1',
  '--optimize-for-size',
  '--disable-warning=ExperimentalWarning',
] as const;

const environment = (): Record<string, string> => {
  const entries = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(entries.filter(([key]) => key !== 'NODE_OPTIONS' && key !== 'NOTIFY_SOCKET'));
};

/** What the child says of its start, up to the end of line. */
function firstLine(fd: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(
      () => settle(() => reject(unavailable(`not ready within ${READY_DEADLINE} ms`))),
      READY_DEADLINE,
    );
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      watch.close();
      finish();
    };
    const watch = watchReadable(fd, () => {
      const buffer = Buffer.alloc(4096);
      const count = readSync(fd, buffer);
      text += buffer.toString('utf8', 0, count);
      if (count === 0 || text.includes('\n')) settle(() => resolve(text.split('\n')[0] ?? ''));
    });
  });
}

/** Resolves when that child of ours is gone for good. One that does not end by itself is killed. */
function gone(pid: number): Promise<void> {
  const child = new ProcessHandle(pid);
  const timer = setTimeout(() => child.signal(SIGKILL), END_DEADLINE);
  return new Promise((resolve) => {
    child.onExit(() => {
      clearTimeout(timer);
      child.exitStatus();
      child.close();
      resolve();
    });
  });
}

/**
 * Starts a supervisor in its directory, in a session of its own, with what was
 * kept for its predecessor, and waits until it serves. Returns its process id.
 * UNAVAILABLE, with what it said, when it does not come up.
 */
export async function launchSupervisor(
  directory: string,
  settings: SupervisorSettings,
  { files, kept }: Inheritance = NOTHING,
): Promise<number> {
  const log = openSync(join(directory, 'log'), constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND, 0o600);
  const nothing = openSync('/dev/null', 'r+');
  const ready = makePipe();
  const open = new Set([log, nothing, ready.read, ready.write]);
  try {
    const keptFile = files.length > 0 ? 'kept' : undefined;
    if (keptFile) writeFileSync(join(directory, keptFile), formatKept(kept), { mode: 0o600 });
    writeIdentity(directory, settings);
    const pid = spawn({
      path: process.execPath,
      args: [...NODE_FLAGS, processPath('runtime-runc-supervisor'), ...toArguments({ ...settings, kept: keptFile })],
      env: environment(),
      cwd: directory,
      files: [nothing, log, log, ready.write, ...files],
      session: true,
    });
    open.delete(ready.write);
    closeSync(ready.write);
    const line = await firstLine(ready.read);
    if (line !== 'ready') {
      await gone(pid);
      throw unavailable(`the supervisor of "${settings.group}" did not start: ${line === '' ? 'it ended' : line}`, {
        remedy: `see "${join(directory, 'log')}"`,
      });
    }
    return pid;
  } finally {
    for (const fd of open) closeSync(fd);
  }
}
