/**
 * Taking over what an earlier supervisor of the same group left: containers
 * that live on, some that ended meanwhile, some half made.
 */
import { closeSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { TaskExit } from '../../../api/gen/events/task.js';
import type { ProcessRecord } from '../../../api/gen/runtime/supervisor.js';
import { Status } from '../../../api/gen/types/task.js';
import { isErrno } from '../../../lib/errno.js';
import { ProcessHandle } from '../../../lib/linux/pidfd.js';
import { openPin } from '../../../lib/linux/pin.js';
import { readStat } from '../../../lib/linux/proc.js';
import type { Kept } from '../../../lib/supervisor/kept.js';
import { readExecRecords, readRecord, removeRecord } from '../records.js';
import { discardContainer } from './discard.js';
import { log, logError } from './log.js';
import { type MakeContext, pidFileOf, readPid, reopenStreams } from './make.js';
import { awaitRuntimes, stopMakers } from './makers.js';
import { type Process, pinOf, UNKNOWN_EXIT } from './process.js';
import { isWaiting } from './start.js';
import type { Streams } from './streams.js';
import type { Supervisor } from './supervisor.js';
import { readUntold } from './untold.js';

/** Descriptors that were kept, each taken at most once. */
class KeptDescriptors {
  readonly #kept: Kept;
  readonly #left: Set<number>;

  constructor(kept: Kept) {
    this.#kept = kept;
    this.#left = new Set(kept.terminals.map(({ fd }) => fd));
  }

  terminal({ id, execId }: ProcessRecord): number | undefined {
    return this.#take(this.#kept.terminals.find((entry) => entry.id === id && entry.execId === execId)?.fd);
  }

  #take(fd: number | undefined): number | undefined {
    return fd !== undefined && this.#left.delete(fd) ? fd : undefined;
  }

  closeRest(): void {
    for (const fd of this.#left) closeSync(fd);
  }
}

/** Adopts every task of the group whose bundle is there. One that cannot be adopted is logged and left alone. */
export async function adoptAll(supervisor: Supervisor, kept: Kept): Promise<void> {
  const { bundles, group } = supervisor.settings;
  const descriptors = new KeptDescriptors(kept);
  await awaitRuntimes();
  removeWorkFiles();
  for (const { exit, told } of readUntold()) supervisor.events.publish('/tasks/exit', TaskExit, exit, told);
  for (const id of readdirSync(bundles)) {
    try {
      const record = readRecord(join(bundles, id), '');
      if (record?.task?.group === group) await adoptTask(supervisor, record, descriptors);
    } catch (error) {
      if (!isErrno(error, 'ENOTDIR')) logError('task cannot be adopted', error, { id });
    }
  }
  descriptors.closeRest();
}

/** Logs, states and sockets of OCI runtimes that an earlier supervisor had at work. */
function removeWorkFiles(): void {
  const left = readdirSync('.').filter((name) => /^(log-\d+-\d+\.json|state-\d+-\d+\.json|console-\d+)$/.test(name));
  for (const name of left) rmSync(name, { force: true });
}

async function adoptTask(supervisor: Supervisor, record: ProcessRecord, kept: KeptDescriptors): Promise<void> {
  const { task, runtime, making } = supervisor.setUp(record);
  if (record.pid === 0) {
    log('warn', 'create was interrupted: removing what it made', { id: record.id });
    await stopMakers(pidFileOf(task.bundle, record.execId));
    await discardContainer({ id: record.id, bundle: task.bundle, runtime });
    removeRecord(task.bundle, record);
    return;
  }
  const execs = readExecRecords(task.bundle).map((exec) => task.add(exec));
  supervisor.keep(task);
  supervisor.rejoinGroup(record);
  if (record.status === Status.CREATED && record.exit === undefined) {
    // Its start may have been under way; the runtime knows.
    record.status = (await isWaiting(runtime, record.id, record.pid)) ? Status.CREATED : Status.RUNNING;
  }
  await adoptProcess(task.init, kept, making);
  for (const exec of execs) await adoptProcess(exec, kept, making);
  if (!task.init.stopped) task.findGroup();
}

async function adoptProcess(process: Process, kept: KeptDescriptors, making: MakeContext): Promise<void> {
  const { record } = process;
  if (record.exit !== undefined) {
    process.unpin();
    if (record.exit.delivered) process.markSettled();
    else process.settle();
    return;
  }
  if (record.pid === 0 && !(await findMade(record, making.bundle))) return;
  const handle = findProcess(record, pinOf(making.bundle, record.execId));
  if (handle === undefined) {
    process.ended(UNKNOWN_EXIT);
    return;
  }
  process.resume(handle, await reopen(process, kept, making));
}

/** An exec whose start was interrupted: it was made when the runtime had written its number. */
async function findMade(record: ProcessRecord, bundle: string): Promise<boolean> {
  const pidFile = pidFileOf(bundle, record.execId);
  await stopMakers(pidFile);
  try {
    record.pid = readPid(pidFile);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
  record.startTime = readStat(record.pid)?.startTime ?? '';
  record.status = Status.RUNNING;
  return true;
}

/** The process of a record, living or dead; undefined when nothing is known of it any more. */
function findProcess({ pid, startTime }: ProcessRecord, pinned: string): ProcessHandle | undefined {
  const pidfd = openPin(pinned);
  if (pidfd !== undefined) return new ProcessHandle(pid, pidfd);
  try {
    const handle = new ProcessHandle(pid);
    if (readStat(pid)?.startTime === startTime) return handle;
    // The number is another's by now.
    handle.close();
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
  return undefined;
}

async function reopen(process: Process, kept: KeptDescriptors, making: MakeContext): Promise<Streams | undefined> {
  const { id, execId } = process.record;
  const master = kept.terminal(process.record);
  try {
    return await reopenStreams(process, making, master);
  } catch (error) {
    // The client may have removed its FIFOs; the process goes on with the ends it holds itself.
    log('warn', 'streams cannot be opened again', { id, execId, err: String(error) });
    return undefined;
  }
}
