/**
 * A runtime written from its contract alone: `runc run` for each task, held before its start by a hook that waits at a
 * FIFO. Its tasks end with the daemon; terminals, execs and what else containers can do is left out.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { TaskCreate, TaskDelete, TaskExit, TaskStart } from '../../../api/gen/events/task.js';
import { Events } from '../../../kernel/contracts/events.js';
import {
  type DeletedProcess,
  type ExitStatus,
  type NewTask,
  type ProcessId,
  type ProcessState,
  type Runtime,
  type RuntimeFacts,
  Runtimes,
  type TaskProcess,
} from '../../../kernel/contracts/runtime.js';
import type { Scope } from '../../../kernel/contracts/scope.js';
import type { Mount } from '../../../kernel/contracts/snapshots.js';
import { alreadyExists, failedPrecondition, internal, notFound, unimplemented } from '../../../kernel/errors.js';
import { definePlugin } from '../../../kernel/plugin.js';
import { packAny } from '../../../lib/rpc/any.js';
import { now, toTimestamp } from '../../../lib/rpc/timestamp.js';

const program = promisify(execFile);

const specOf = z.looseObject({
  hooks: z.looseObject({}).optional(),
  root: z.looseObject({}).optional(),
  linux: z.looseObject({ cgroupsPath: z.string().optional() }).optional(),
});
const hookState = z.object({ pid: z.int() });

interface Task {
  readonly asked: NewTask;
  readonly bundle: string;
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  started: boolean;
  exit?: ExitStatus;
}

const keyOf = ({ namespace }: Scope, id: string): string => `${namespace}/${id}`;

/** Descriptors for the process: whoever opens a FIFO both ways waits for nobody. */
function openStreams({ stdin, stdout, stderr }: NewTask): readonly number[] {
  const open = (path: string): number => openSync(path === '' ? '/dev/null' : path, constants.O_RDWR);
  return [stdin, stdout, stderr].map(open);
}

const unused = async (): Promise<never> => {
  throw unimplemented('this runtime runs one process for each task and no more');
};

class PlainRuntime implements Runtime {
  readonly names = ['io.containerd.runc.v2'];
  readonly #directory: string;
  readonly #events: Events;
  readonly #tasks = new Map<string, Task>();

  constructor(directory: string, events: Events) {
    this.#directory = directory;
    this.#events = events;
  }

  tasks(namespace: string): readonly string[] {
    return [...this.#tasks.keys()].flatMap((key) =>
      key.startsWith(`${namespace}/`) ? [key.slice(namespace.length + 1)] : [],
    );
  }

  namespaces(): readonly string[] {
    return [...new Set([...this.#tasks.keys()].map((key) => key.slice(0, key.indexOf('/'))))];
  }

  async create(scope: Scope, asked: NewTask): Promise<{ readonly pid: number }> {
    const key = keyOf(scope, asked.id);
    if (this.#tasks.has(key)) throw alreadyExists(`task "${asked.id}" already exists`);
    const bundle = join(this.#directory, key);
    await mkdir(join(bundle, 'rootfs'), { recursive: true });
    for (const mount of asked.rootfs) await this.#mount(mount, join(bundle, 'rootfs'));
    await program('mkfifo', [join(bundle, 'state'), join(bundle, 'gate')]);
    await writeFile(join(bundle, 'config.json'), JSON.stringify(this.#spec(asked, bundle)));
    const streams = openStreams(asked);
    const runc = spawn('runc', [...this.#runc(), 'run', '--bundle', bundle, asked.id], { stdio: [...streams] });
    for (const descriptor of streams) closeSync(descriptor);
    const exited = this.#exitOf(scope, asked.id, runc);
    const pid = await this.#heldAt(bundle, exited);
    this.#tasks.set(key, { asked, bundle, pid, exited, started: false });
    const { terminal, stdin, stdout, stderr } = asked;
    const event = {
      containerId: asked.id,
      bundle,
      rootfs: [],
      io: { terminal, stdin, stdout, stderr },
      checkpoint: '',
      pid,
    };
    this.#events.publish(scope.namespace, '/tasks/create', packAny(TaskCreate, event));
    return { pid };
  }

  async start(scope: Scope, { id }: ProcessId): Promise<{ readonly pid: number }> {
    const task = this.#task(scope, id);
    if (task.started) throw failedPrecondition(`task "${id}" was started before`);
    task.started = true;
    this.#events.publish(scope.namespace, '/tasks/start', packAny(TaskStart, { containerId: id, pid: task.pid }));
    await writeFile(join(task.bundle, 'gate'), 'go');
    return { pid: task.pid };
  }

  async delete(scope: Scope, { id }: ProcessId): Promise<DeletedProcess> {
    const { exit, bundle, pid } = this.#task(scope, id);
    if (exit === undefined) throw failedPrecondition(`task "${id}" has not ended`);
    await program('umount', [join(bundle, 'rootfs')]);
    await rm(bundle, { recursive: true });
    this.#tasks.delete(keyOf(scope, id));
    const event = { containerId: id, pid, exitStatus: exit.exitStatus, exitedAt: toTimestamp(exit.exitedAt), id: '' };
    this.#events.publish(scope.namespace, '/tasks/delete', packAny(TaskDelete, event));
    return { pid, ...exit };
  }

  async state(scope: Scope, { id }: ProcessId): Promise<ProcessState> {
    const { asked, pid, started, exit } = this.#task(scope, id);
    const { terminal, stdin, stdout, stderr } = asked;
    const status = exit !== undefined ? 'stopped' : started ? 'running' : 'created';
    return { id, terminal, stdin, stdout, stderr, pid, status, ...(exit && { exit }) };
  }

  async kill(scope: Scope, { id }: ProcessId, signal: number): Promise<void> {
    const { exit, pid } = this.#task(scope, id);
    if (exit !== undefined) throw notFound(`task "${id}": process already finished`);
    process.kill(pid, signal);
  }

  async wait(scope: Scope, { id }: ProcessId): Promise<ExitStatus> {
    return this.#task(scope, id).exited;
  }

  async pids(scope: Scope, id: string): Promise<readonly TaskProcess[]> {
    return [{ pid: this.#task(scope, id).pid }];
  }

  async facts(name: string): Promise<RuntimeFacts> {
    return { name, version: '', revision: '', annotations: {} };
  }

  /** Ends what runs. */
  async close(): Promise<void> {
    for (const [key, { pid, exit, exited, bundle }] of this.#tasks) {
      if (exit === undefined) process.kill(pid, 'SIGKILL');
      await exited;
      await program('umount', [join(bundle, 'rootfs')]);
      this.#tasks.delete(key);
    }
  }

  closeStdin = async (): Promise<void> => undefined;
  exec = unused;
  resize = unused;
  pause = unused;
  resume = unused;
  checkpoint = unused;
  update = unused;
  stats = unused;

  #task(scope: Scope, id: string): Task {
    const task = this.#tasks.get(keyOf(scope, id));
    if (task === undefined) throw notFound(`task "${id}" not found`);
    return task;
  }

  #runc(): readonly string[] {
    return ['--root', join(this.#directory, 'runc')];
  }

  /** As it was asked for, with a hook that says the pid and then waits for the start, and the control group of runc's choice. */
  #spec({ spec }: NewTask, bundle: string): unknown {
    const asked = specOf.parse(JSON.parse(Buffer.from(spec.value).toString()));
    const script = `cat >'${join(bundle, 'state')}'; cat '${join(bundle, 'gate')}' >/dev/null`;
    const createRuntime = [{ path: '/bin/sh', args: ['sh', '-c', script], env: [`PATH=${process.env.PATH}`] }];
    const { cgroupsPath: _, ...linux } = asked.linux ?? {};
    return {
      ...asked,
      linux,
      root: { ...asked.root, path: join(bundle, 'rootfs') },
      hooks: { ...asked.hooks, createRuntime },
    };
  }

  async #mount({ type, source, options }: Mount, target: string): Promise<void> {
    const kind = type === 'bind' ? [] : ['-t', type];
    await program('mount', [...kind, '-o', options.join(','), source, target]);
  }

  /** The pid of the container, once its hook waits. */
  async #heldAt(bundle: string, exited: Promise<ExitStatus>): Promise<number> {
    const failed = exited.then(({ exitStatus }) => {
      throw internal(`runc ended with ${exitStatus} before it had made the container`);
    });
    const text = await Promise.race([readFile(join(bundle, 'state'), 'utf8'), failed]);
    return hookState.parse(JSON.parse(text)).pid;
  }

  #exitOf(scope: Scope, id: string, runc: ChildProcess): Promise<ExitStatus> {
    return new Promise((resolve, reject) => {
      runc.once('error', reject);
      runc.once('exit', (code) => {
        const exit = { exitStatus: code ?? 255, exitedAt: now() };
        const task = this.#tasks.get(keyOf(scope, id));
        if (task !== undefined) {
          task.exit = exit;
          const { exitStatus } = exit;
          const event = { containerId: id, id, pid: task.pid, exitStatus, exitedAt: toTimestamp(exit.exitedAt) };
          this.#events.publish(scope.namespace, '/tasks/exit', packAny(TaskExit, event));
        }
        resolve(exit);
      });
    });
  }
}

/** Under the name of the runtime that it takes the place of. */
export const plugin = definePlugin({
  id: 'plain-runtime',
  api: 1,
  wire: { type: 'io.containerd.runtime.v2', id: 'task' },
  config: z.object({}).strict(),
  requires: { events: Events },
  provides: { runtime: Runtimes },
  async start({ deps: { events }, stateDir, onStop }) {
    const runtime = new PlainRuntime(stateDir(), events);
    onStop(() => runtime.close());
    return { runtime };
  },
});
