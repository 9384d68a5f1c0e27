/** A runtime in memory: its processes are entries of a map that live as the contract says, and tell their events. */
import {
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from '../../api/gen/events/task.js';
import type { Events } from '../../kernel/contracts/events.js';
import type {
  DeletedProcess,
  ExitStatus,
  NewExec,
  NewTask,
  ProcessId,
  ProcessState,
  Runtime,
  RuntimeFacts,
  TaskProcess,
  TerminalSize,
} from '../../kernel/contracts/runtime.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import { alreadyExists, failedPrecondition, invalidArgument, notFound, unimplemented } from '../../kernel/errors.js';
import { packAny } from '../../lib/rpc/any.js';
import { now, toTimestamp } from '../../lib/rpc/timestamp.js';

export interface MemoryProcess {
  readonly namespace: string;
  readonly id: string;
  /** Empty: the init process. */
  readonly execId: string;
  readonly asked: NewTask | NewExec;
  readonly pid: number;
  status: 'created' | 'running' | 'paused' | 'stopped';
  exit?: ExitStatus;
  readonly exited: PromiseWithResolvers<ExitStatus>;
  /** What it was sent, in order. */
  readonly signals: number[];
  size?: TerminalSize;
  stdinClosed: boolean;
}

/** Signals that end a process here; others are only remembered. */
const DEADLY: readonly number[] = [9, 15];

/** The highest signal of Linux (signal(7)). */
const LAST_SIGNAL = 64;

/** Pids of no real process: above what Linux gives (proc(5), pid_max). */
const FIRST_PID = 2 ** 22 + 1;

export class MemoryRuntime implements Runtime {
  readonly names: readonly string[];
  readonly processes: MemoryProcess[] = [];
  readonly #events: Pick<Events, 'publish'>;
  #nextPid = FIRST_PID;

  constructor(events: Pick<Events, 'publish'>, names: readonly string[] = ['io.containerd.memory.v1']) {
    this.#events = events;
    this.names = names;
  }

  tasks(namespace: string): readonly string[] {
    return this.#inits().flatMap((process) => (process.namespace === namespace ? [process.id] : []));
  }

  namespaces(): readonly string[] {
    return [...new Set(this.#inits().map(({ namespace }) => namespace))];
  }

  async create(scope: Scope, task: NewTask): Promise<{ readonly pid: number }> {
    const { id } = task;
    if (this.tasks(scope.namespace).includes(id)) throw alreadyExists(`task "${id}" already exists`);
    const { pid } = this.#add(scope, task, '');
    const { checkpoint = '', terminal, stdin, stdout, stderr } = task;
    const rootfs = task.rootfs.map((mount) => ({ ...mount, options: [...mount.options] }));
    const io = { terminal, stdin, stdout, stderr };
    this.#tell(
      scope,
      '/tasks/create',
      packAny(TaskCreate, { containerId: id, bundle: '', rootfs, io, checkpoint, pid }),
    );
    return { pid };
  }

  async start(scope: Scope, which: ProcessId): Promise<{ readonly pid: number }> {
    const process = this.#process(scope, which);
    if (process.status !== 'created') throw failedPrecondition(`process ${nameOf(process)} was started before`);
    process.status = 'running';
    const { id: containerId, execId, pid } = process;
    if (execId === '') this.#tell(scope, '/tasks/start', packAny(TaskStart, { containerId, pid }));
    else this.#tell(scope, '/tasks/exec-started', packAny(TaskExecStarted, { containerId, execId, pid }));
    return { pid };
  }

  async delete(scope: Scope, which: ProcessId): Promise<DeletedProcess> {
    const process = this.#process(scope, which);
    if (process.status === 'running' || process.status === 'paused')
      throw failedPrecondition(`process ${nameOf(process)} runs`);
    const { id, execId, pid } = process;
    const { exitStatus, exitedAt } = process.exit ?? { exitStatus: 0, exitedAt: now() };
    const gone = this.processes.filter((other) => (execId === '' ? isOf(other, scope, id) : other === process));
    for (const each of gone) this.processes.splice(this.processes.indexOf(each), 1);
    const event = { containerId: id, pid, exitStatus, exitedAt: toTimestamp(exitedAt), id: execId };
    if (execId === '') this.#tell(scope, '/tasks/delete', packAny(TaskDelete, event));
    return { pid, exitStatus, exitedAt };
  }

  async state(scope: Scope, which: ProcessId): Promise<ProcessState> {
    const { id, execId, asked, pid, status, exit } = this.#process(scope, which);
    const { terminal, stdin, stdout, stderr } = asked;
    return { id, execId, terminal, stdin, stdout, stderr, pid, status, ...(exit && { exit }) };
  }

  async exec(scope: Scope, exec: NewExec): Promise<void> {
    const { id, execId } = exec;
    this.#live(scope, { id });
    if (execId === '') throw invalidArgument('an exec needs an id');
    if (this.processes.some((process) => isOf(process, scope, id) && process.execId === execId))
      throw alreadyExists(`exec "${execId}" of task "${id}" already exists`);
    this.#add(scope, exec, execId);
    this.#tell(scope, '/tasks/exec-added', packAny(TaskExecAdded, { containerId: id, execId }));
  }

  async kill(scope: Scope, which: ProcessId, signal: number, all = false): Promise<void> {
    if (!Number.isInteger(signal) || signal < 1 || signal > LAST_SIGNAL)
      throw invalidArgument(`${signal} is no signal`);
    const process = this.#live(scope, which);
    const reached = all ? this.processes.filter((other) => isOf(other, scope, which.id) && isAlive(other)) : [process];
    for (const each of reached) each.signals.push(signal);
    if (DEADLY.includes(signal)) for (const each of reached.toReversed()) this.end(scope, each, 128 + signal);
  }

  async resize(scope: Scope, which: ProcessId, size: TerminalSize): Promise<void> {
    const process = this.#live(scope, which);
    if (!process.asked.terminal) throw failedPrecondition(`process ${nameOf(process)} has no terminal`);
    process.size = size;
  }

  async closeStdin(scope: Scope, which: ProcessId): Promise<void> {
    this.#process(scope, which).stdinClosed = true;
  }

  async pause(scope: Scope, id: string): Promise<void> {
    const process = this.#live(scope, { id });
    if (process.status !== 'running') throw failedPrecondition(`task "${id}" does not run`);
    process.status = 'paused';
    this.#tell(scope, '/tasks/paused', packAny(TaskPaused, { containerId: id }));
  }

  async resume(scope: Scope, id: string): Promise<void> {
    const process = this.#live(scope, { id });
    if (process.status !== 'paused') throw failedPrecondition(`task "${id}" is not paused`);
    process.status = 'running';
    this.#tell(scope, '/tasks/resumed', packAny(TaskResumed, { containerId: id }));
  }

  async pids(scope: Scope, id: string): Promise<readonly TaskProcess[]> {
    this.#process(scope, { id });
    return this.processes.filter((each) => isOf(each, scope, id) && isAlive(each)).map(({ pid }) => ({ pid }));
  }

  async checkpoint(): Promise<void> {
    throw unimplemented('there is nothing in memory to make a checkpoint of');
  }

  async update(scope: Scope, id: string): Promise<void> {
    this.#live(scope, { id });
  }

  async stats(scope: Scope, id: string): Promise<AnyMessage> {
    this.#process(scope, { id });
    throw notFound(`task "${id}" has no control group`);
  }

  async wait(scope: Scope, which: ProcessId): Promise<ExitStatus> {
    return this.#process(scope, which).exited.promise;
  }

  async facts(name: string): Promise<RuntimeFacts> {
    return { name, version: '', revision: '', annotations: {} };
  }

  /** Ends a process with that status, unless it has ended, with all execs before it where it is a task's init. */
  end(scope: Scope, which: ProcessId, exitStatus: number): void {
    const process = this.#process(scope, which);
    if (process.exit !== undefined) return;
    const { id, execId, pid } = process;
    if (execId === '')
      for (const each of this.processes)
        if (isOf(each, scope, id) && each.execId !== '' && isAlive(each)) this.end(scope, each, 137);
    process.status = 'stopped';
    process.exit = { exitStatus, exitedAt: now() };
    process.exited.resolve(process.exit);
    const exitedAt = toTimestamp(process.exit.exitedAt);
    const event = { containerId: id, id: execId === '' ? id : execId, pid, exitStatus, exitedAt };
    this.#tell(scope, '/tasks/exit', packAny(TaskExit, event));
  }

  #inits(): readonly MemoryProcess[] {
    return this.processes.filter(({ execId }) => execId === '');
  }

  #add({ namespace }: Scope, asked: NewTask | NewExec, execId: string): MemoryProcess {
    const exited = Promise.withResolvers<ExitStatus>();
    const process: MemoryProcess = {
      ...{ namespace, id: asked.id, execId, asked, pid: this.#nextPid++ },
      ...{ status: 'created', exited, signals: [], stdinClosed: false },
    };
    this.processes.push(process);
    return process;
  }

  #process(scope: Scope, { id, execId = '' }: ProcessId): MemoryProcess {
    const found = this.processes.find((process) => isOf(process, scope, id) && process.execId === execId);
    if (found === undefined) throw notFound(`process "${execId || id}" of task "${id}" not found`);
    return found;
  }

  #live(scope: Scope, which: ProcessId): MemoryProcess {
    const process = this.#process(scope, which);
    if (process.exit !== undefined) throw notFound(`process ${nameOf(process)} already finished`);
    return process;
  }

  #tell({ namespace }: Scope, topic: string, event: AnyMessage): void {
    this.#events.publish(namespace, topic, event);
  }
}

const nameOf = ({ id, execId }: MemoryProcess): string =>
  execId === '' ? `of task "${id}"` : `"${execId}" of "${id}"`;

const isOf = (process: MemoryProcess, { namespace }: Scope, id: string): boolean =>
  process.namespace === namespace && process.id === id;

const isAlive = ({ exit }: MemoryProcess): boolean => exit === undefined;
