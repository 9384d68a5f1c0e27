import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import {
  TaskCheckpointed,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from '../../../api/gen/events/task.js';
import type { Exit, ProcessRecord, Stdio } from '../../../api/gen/runtime/supervisor.js';
import { Status } from '../../../api/gen/types/task.js';
import { alreadyExists, failedPrecondition, hasCode, invalidArgument, notFound } from '../../../kernel/errors.js';
import { ControlGroup } from '../../../lib/cgroups/group.js';
import { type OomWatch, watchOom } from '../../../lib/cgroups/oom.js';
import { checkIdentifier } from '../../../lib/identifier.js';
import { KeyedLock } from '../../../lib/keyed-lock.js';
import type { AnyMessage } from '../../../lib/rpc/any.js';
import type { EventLog } from './events.js';
import type { CheckpointFlags, OciRuntime } from './oci-runtime.js';
import { Process, type Size } from './process.js';
import type { Reaper } from './reaper.js';
import { keepUntold } from './untold.js';

/** Milliseconds that execs may take to end after their container's init process has. */
const EXEC_GRACE = 2000;
const SIGKILL = 9;
/** The real-time signals end here (signal(7)). */
const SIGNAL_MAX = 64;

export interface TaskParts {
  readonly bundle: string;
  /** The kernel ends its processes together with its init process. */
  readonly ownPidNamespace: boolean;
  readonly runtime: OciRuntime;
  readonly reaper: Reaper;
  readonly events: EventLog;
  /** Makes an exec's process: runs the runtime, and takes over what it made. */
  startExec(task: Task, process: Process): Promise<void>;
  /** Starts the container, which has been made. */
  startContainer(over: Promise<void>): Promise<void>;
  /** Removes what there is of the container, which has ended: what the runtime keeps, and mounts. */
  removeContainer(): Promise<void>;
  onError(error: unknown): void;
}

export interface NewExec {
  readonly execId: string;
  readonly stdio: Stdio;
  readonly spec: Uint8Array;
}

export interface TaskPid {
  readonly pid: number;
  /** Absent for init and its descendants. */
  readonly execId: string | undefined;
}

/** A container's processes, from its creation to its deletion. */
export class Task {
  readonly id: string;
  readonly bundle: string;
  readonly init: Process;
  readonly #parts: TaskParts;
  readonly #processes = new Map<string, Process>();
  readonly #turns = new KeyedLock();
  #group: ControlGroup | undefined;
  #oom: OomWatch | undefined;
  #paused: Status | undefined;
  #deleted = false;
  readonly #untold = new Map<Process, () => void>();

  constructor(record: ProcessRecord, parts: TaskParts) {
    this.id = record.id;
    this.bundle = parts.bundle;
    this.#parts = parts;
    this.init = this.add(record);
  }

  get processes(): IterableIterator<Process> {
    return this.#processes.values();
  }

  /** Whether `delete` has removed it, or it never came to be. */
  get gone(): boolean {
    return this.#deleted;
  }

  add(record: ProcessRecord): Process {
    const { bundle, reaper, onError } = this.#parts;
    const process = new Process(bundle, record, reaper, (ended) => {
      this.#tellExit(ended).catch(onError);
    });
    this.#processes.set(record.execId, process);
    return process;
  }

  /** NOT_FOUND. */
  process(execId: string): Process {
    const process = this.#processes.get(execId);
    if (process === undefined) throw notFound(`exec "${execId}" of task "${this.id}" does not exist`);
    return process;
  }

  /** The init process is there: its control group can be known. */
  findGroup(): void {
    this.#group = ControlGroup.of(this.init.record.pid);
    if (this.#group === undefined) return;
    this.#oom = watchOom(this.#group, () =>
      this.#parts.events.publish('/tasks/oom', TaskOOM, { containerId: this.id }),
    );
  }

  status(process: Process): Status {
    return process === this.init && !process.stopped && this.#paused !== undefined
      ? this.#paused
      : process.record.status;
  }

  start(execId: string): Promise<number> {
    return this.#inTurn(execId, async () => {
      const process = this.process(execId);
      if (process.record.status !== Status.CREATED || process.stopped) {
        throw failedPrecondition(`${process.name} was started before`);
      }
      await (process === this.init ? this.#startInit(process) : this.#startExec(process));
      return process.record.pid;
    });
  }

  async #startInit(process: Process): Promise<void> {
    const { startContainer } = this.#parts;
    await process.start(() => (process.record.task?.restored ? Promise.resolve() : startContainer(process.over)));
    this.#parts.events.publish('/tasks/start', TaskStart, { containerId: this.id, pid: process.record.pid });
  }

  async #startExec(process: Process): Promise<void> {
    if (this.init.stopped) throw failedPrecondition(`task "${this.id}" has stopped`);
    const { execId } = process.record;
    try {
      await process.start(() => this.#parts.startExec(this, process));
    } catch (error) {
      process.neverRan();
      throw error;
    }
    const started = { containerId: this.id, execId, pid: process.record.pid };
    this.#parts.events.publish('/tasks/exec-started', TaskExecStarted, started);
  }

  exec({ execId, stdio, spec }: NewExec): void {
    checkIdentifier(execId, 'exec id');
    if (execId === this.id) throw invalidArgument(`exec id "${execId}" is the id of its task`);
    if (this.#processes.has(execId)) throw alreadyExists(`exec "${execId}" of task "${this.id}" exists`);
    if (this.init.record.status === Status.CREATED || this.init.stopped) {
      throw failedPrecondition(`exec in task "${this.id}", which does not run`);
    }
    const process = this.add({
      id: this.id,
      execId,
      status: Status.CREATED,
      pid: 0,
      startTime: '',
      stdio,
      exit: undefined,
      terminalFd: 0,
      task: undefined,
      spec,
      inputClosed: false,
    });
    process.save();
    this.#parts.events.publish('/tasks/exec-added', TaskExecAdded, { containerId: this.id, execId });
  }

  async kill(execId: string, signal: number, all: boolean): Promise<void> {
    if (signal < 1 || signal > SIGNAL_MAX) throw invalidArgument(`signal ${signal} does not exist`);
    const process = this.process(execId);
    if (!all || process !== this.init) return process.signal(signal);
    if (process.stopped) throw notFound(`process already finished: ${process.name}`);
    await this.#parts.runtime.killAll(this.id, signal);
  }

  delete(execId: string): Promise<{ pid: number; exit: Exit }> {
    return this.#inTurn(execId, async () => {
      const process = this.process(execId);
      return process === this.init ? this.#deleteInit(process) : this.#deleteExec(process);
    });
  }

  async #deleteExec(process: Process): Promise<{ pid: number; exit: Exit }> {
    if (process.record.pid !== 0 && !process.stopped) throw failedPrecondition(`${process.name} is running`);
    if (process.stopped) await process.told;
    this.#processes.delete(process.record.execId);
    this.#forget(process);
    return ended(process);
  }

  async #deleteInit(init: Process): Promise<{ pid: number; exit: Exit }> {
    if (!init.stopped && init.record.status !== Status.CREATED) throw failedPrecondition(`${init.name} is running`);
    if (!init.stopped) init.signal(SIGKILL);
    await init.told;
    await this.#parts.removeContainer();
    this.#oom?.close();
    this.#deleted = true;
    for (const process of this.#processes.values()) process.closeStreams();
    const { pid, exit } = ended(init);
    this.#parts.events.publish('/tasks/delete', TaskDelete, {
      containerId: this.id,
      id: '',
      pid,
      exitStatus: exit.status,
      exitedAt: exit.at,
    });
    // Init comes last: by its record a successor finds those of its execs, should we die on the way.
    for (const process of [...this.#processes.values()].reverse()) this.#forget(process);
    return { pid, exit };
  }

  pause(): Promise<void> {
    return this.#inTurn('', async () => {
      this.#mustRun();
      this.#paused = Status.PAUSING;
      try {
        await this.#parts.runtime.pause(this.id);
        this.#paused = Status.PAUSED;
      } catch (error) {
        this.#paused = undefined;
        throw error;
      }
      this.#parts.events.publish('/tasks/paused', TaskPaused, { containerId: this.id });
    });
  }

  resume(): Promise<void> {
    return this.#inTurn('', async () => {
      if (this.#paused === undefined) throw failedPrecondition(`task "${this.id}" is not paused`);
      await this.#parts.runtime.resume(this.id);
      this.#paused = undefined;
      this.#parts.events.publish('/tasks/resumed', TaskResumed, { containerId: this.id });
    });
  }

  /** Takes over what the runtime says of a task another supervisor may have paused. */
  markPaused(): void {
    this.#paused = Status.PAUSED;
  }

  update(resources: Uint8Array): Promise<void> {
    return this.#inTurn('', async () => {
      this.#mustRun();
      const file = join(this.bundle, 'update.json');
      writeFileSync(file, resources, { mode: 0o600 });
      try {
        await this.#parts.runtime.update(this.id, file);
      } finally {
        rmSync(file, { force: true });
      }
    });
  }

  checkpoint(flags: CheckpointFlags): Promise<void> {
    return this.#inTurn('', async () => {
      this.#mustRun();
      await this.#parts.runtime.checkpoint(this.id, flags);
      this.#parts.events.publish('/tasks/checkpointed', TaskCheckpointed, {
        containerId: this.id,
        checkpoint: flags.imagePath,
      });
    });
  }

  resize(execId: string, size: Size): void {
    this.process(execId).resize(size);
  }

  closeInput(execId: string): void {
    this.process(execId).closeInput();
  }

  pids(): TaskPid[] {
    const execs = new Map<number, string>();
    for (const { record } of this.#processes.values()) {
      if (record.execId !== '' && record.exit === undefined) execs.set(record.pid, record.execId);
    }
    return (this.#group?.processes() ?? []).map((pid) => ({ pid, execId: execs.get(pid) }));
  }

  /** NOT_FOUND without a control group. */
  async stats(): Promise<AnyMessage> {
    const group = this.#group;
    if (group === undefined || this.init.stopped) throw notFound(`task "${this.id}" has no control group`);
    // Loaded when somebody asks: generated code of a hundred kilobytes.
    const { readStats } = await import('./stats.js');
    return readStats(group);
  }

  async wait(execId: string): Promise<Exit> {
    const process = this.process(execId);
    await process.exited;
    return ended(process).exit;
  }

  #mustRun(): void {
    if (this.init.stopped) throw notFound(`process already finished: ${this.init.name}`);
    if (this.init.record.status === Status.CREATED) throw failedPrecondition(`${this.init.name} has not been started`);
  }

  #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    return this.#turns.run(key, async () => {
      if (this.#deleted) throw notFound(`task "${this.id}" does not exist`);
      return work();
    });
  }

  async #tellExit(process: Process): Promise<void> {
    if (process === this.init) await this.#endExecs();
    this.#oom?.look();
    const { exit } = ended(process);
    this.#parts.events.publish('/tasks/exit', TaskExit, exitMessage(process), () => this.#delivered(process, exit));
    process.markTold();
  }

  #delivered(process: Process, exit: Exit): void {
    exit.delivered = true;
    this.#untold.get(process)?.();
    this.#untold.delete(process);
    if (this.#processes.get(process.record.execId) === process && !this.#deleted) process.save();
  }

  /** Its record goes; what it tells of an exit that nobody has heard of yet stays. */
  #forget(process: Process): void {
    if (process.record.exit?.delivered === false) this.#untold.set(process, keepUntold(exitMessage(process)));
    process.forget();
  }

  /** Nothing of a container outlives its init process; what the kernel does not see to is done here. */
  async #endExecs(): Promise<void> {
    // A kill for want of memory is noticed apart from the exit it causes: it comes first.
    await turn();
    const running = [...this.#processes.values()].filter(
      (process) => process !== this.init && process.record.pid !== 0,
    );
    if (!this.#parts.ownPidNamespace) await this.#killRest();
    if (running.length === 0) return;
    const all = Promise.all(running.map((process) => process.told));
    await Promise.race([all, delay(EXEC_GRACE, undefined, { ref: false })]);
  }

  async #killRest(): Promise<void> {
    try {
      await this.#parts.runtime.killAll(this.id, SIGKILL);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) this.#parts.onError(error);
    }
  }
}

const NEVER: Exit = { status: 0, at: undefined, delivered: true };

function exitMessage(process: Process): TaskExit {
  const { id, execId } = process.record;
  const { pid, exit } = ended(process);
  return { containerId: id, id: execId || id, pid, exitStatus: exit.status, exitedAt: exit.at };
}

const ended = ({ record }: Process): { pid: number; exit: Exit } => ({ pid: record.pid, exit: record.exit ?? NEVER });
