import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { CheckpointOptions, Options } from '../../api/gen/runtime/runc-options.js';
import type { Container, Containers } from '../../kernel/contracts/containers.js';
import type {
  DeletedProcess,
  ExitStatus,
  NewExec,
  NewTask,
  ProcessId,
  ProcessState,
  Runtime,
  TaskProcess,
  TerminalSize,
} from '../../kernel/contracts/runtime.js';
import type { AnyMessage, Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { CheckpointTask, CreateTask, TaskMetric, Tasks } from '../../kernel/contracts/tasks.js';
import { alreadyExists, hasCode, invalidArgument, notFound } from '../../kernel/errors.js';
import type { LiveMap } from '../../kernel/plugin.js';
import { compileFilters, nonEmpty } from '../../lib/filters/filters.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';
import { now } from '../../lib/rpc/timestamp.js';
import type { Checkpoints } from './checkpoints.js';
import { isBack } from './restarts.js';
import { runtimeFor } from './runtimes.js';

/** Milliseconds a runtime has to tell the state of a task. */
const STATE_BOUND = 2000;

/** The value, or undefined when there is none in time. What the work does afterwards is not waited for. */
async function inTime<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
  const bound = new AbortController();
  const late = delay(STATE_BOUND, undefined, { signal: bound.signal, ref: false }).catch(() => undefined);
  try {
    return await Promise.race([work(bound.signal), late]);
  } finally {
    bound.abort();
  }
}

const unknownState = ({ id, execId = '' }: ProcessId): ProcessState => ({
  id,
  execId,
  pid: 0,
  status: 'unknown',
  terminal: false,
  stdin: '',
  stdout: '',
  stderr: '',
});

/** The value; undefined when the task or process has gone meanwhile. */
async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

const isThere = <T>(value: T | undefined): value is T => value !== undefined;

const keyOf = ({ namespace }: Scope, id: string): string => `${namespace}/${id}`;

/** The directory that a checkpoint is to go to; empty when it is to go to content. INVALID_ARGUMENT. */
function imagePathOf(id: string, options: AnyMessage | undefined): string {
  if (options === undefined || !isAny(CheckpointOptions, options)) return '';
  const { imagePath, parentPath } = unpackAny(CheckpointOptions, options);
  if (parentPath === '' || imagePath !== '') return imagePath;
  // An image that builds on another one is of no use without that, which content knows nothing of.
  throw invalidArgument(`checkpoint of task "${id}" has a parent_path, but no image_path`, {
    remedy: 'give both: only images in directories can build on each other',
  });
}

/** A directory with a checkpoint to restore from, which stays the client's own; empty for none. */
const restorePathOf = (options: AnyMessage | undefined): string =>
  options !== undefined && isAny(Options, options) ? unpackAny(Options, options).criuImagePath : '';

/** Sends each call to the runtime that has the task, or is to have it. */
export class TaskDirectory implements Tasks {
  readonly #containers: Containers;
  readonly #runtimes: LiveMap<Runtime>;
  readonly #checkpoints: Checkpoints;
  /** Directories of images that tasks were made from and not started yet. */
  readonly #images = new Map<string, string>();

  constructor(containers: Containers, runtimes: LiveMap<Runtime>, checkpoints: Checkpoints) {
    this.#checkpoints = checkpoints;
    this.#containers = containers;
    this.#runtimes = runtimes;
  }

  #owner({ namespace }: Scope, id: string): Runtime | undefined {
    return [...this.#runtimes.values()].find((runtime) => runtime.tasks(namespace).includes(id));
  }

  /** The runtime that has the task. NOT_FOUND. */
  #runtime(scope: Scope, id: string): Runtime {
    const owner = this.#owner(scope, id);
    if (owner === undefined) throw notFound(`task "${id}" does not exist in namespace "${scope.namespace}"`);
    return owner;
  }

  async create(scope: Scope, task: CreateTask): Promise<{ readonly pid: number }> {
    const container = await this.#containers.get(scope, task.id);
    if (this.#owner(scope, task.id)) throw alreadyExists(`task "${task.id}" exists`);
    const { name } = container.runtime;
    const options = task.options ?? container.runtime.options;
    const { id, rootfs, terminal, stdin, stdout, stderr } = task;
    const runtime = runtimeFor(this.#runtimes, task.runtimePath || name);
    const given = restorePathOf(task.options);
    const unpacked = given === '' && task.checkpoint && (await this.#checkpoints.unpack(scope, task.checkpoint));
    const checkpoint = unpacked || given;
    const request = {
      id,
      runtime: name,
      spec: container.spec,
      rootfs,
      terminal,
      stdin,
      stdout,
      stderr,
      ...(options && { options }),
      ...(task.runtimePath && { runtimePath: task.runtimePath }),
      ...(container.sandbox && { sandbox: container.sandbox }),
      ...(checkpoint && { checkpoint }),
    };
    return unpacked ? this.#restore(scope, runtime, request, unpacked) : runtime.create(scope, request);
  }

  /** The image is read when the task is made, or when it is started, as the runtime likes: it stays until then. */
  async #restore(scope: Scope, runtime: Runtime, task: NewTask, image: string): Promise<{ readonly pid: number }> {
    try {
      const made = await runtime.create(scope, task);
      this.#images.set(keyOf(scope, task.id), image);
      return made;
    } catch (error) {
      await rm(image, { recursive: true, force: true });
      throw error;
    }
  }

  async #forgetImage(scope: Scope, { id, execId }: ProcessId): Promise<void> {
    const image = execId ? undefined : this.#images.get(keyOf(scope, id));
    if (image === undefined) return;
    this.#images.delete(keyOf(scope, id));
    await rm(image, { recursive: true, force: true });
  }

  async start(scope: Scope, process: ProcessId): Promise<{ readonly pid: number }> {
    const started = await this.#runtime(scope, process.id).start(scope, process);
    await this.#forgetImage(scope, process);
    return started;
  }

  async delete(scope: Scope, process: ProcessId): Promise<DeletedProcess> {
    const deleted = await this.#runtime(scope, process.id).delete(scope, process);
    await this.#forgetImage(scope, process);
    return deleted;
  }

  async get(scope: Scope, process: ProcessId): Promise<ProcessState> {
    const runtime = this.#runtime(scope, process.id);
    return (await inTime((signal) => runtime.state({ ...scope, signal }, process))) ?? unknownState(process);
  }

  async list(scope: Scope): Promise<readonly ProcessState[]> {
    const ids = [...this.#runtimes.values()].flatMap((runtime) => runtime.tasks(scope.namespace));
    const states = await Promise.all(ids.map((id) => unlessGone(this.get(scope, { id }))));
    return states.filter(isThere);
  }

  async exec(scope: Scope, exec: NewExec): Promise<void> {
    if (exec.execId === '') throw invalidArgument(`exec in task "${exec.id}" needs an exec id`);
    await this.#runtime(scope, exec.id).exec(scope, exec);
  }

  async kill(scope: Scope, process: ProcessId, signal: number, all = false): Promise<void> {
    await this.#runtime(scope, process.id).kill(scope, process, signal, all);
  }

  async resize(scope: Scope, process: ProcessId, size: TerminalSize): Promise<void> {
    await this.#runtime(scope, process.id).resize(scope, process, size);
  }

  async closeStdin(scope: Scope, process: ProcessId): Promise<void> {
    await this.#runtime(scope, process.id).closeStdin(scope, process);
  }

  async pause(scope: Scope, id: string): Promise<void> {
    await this.#runtime(scope, id).pause(scope, id);
  }

  async resume(scope: Scope, id: string): Promise<void> {
    await this.#runtime(scope, id).resume(scope, id);
  }

  async pids(scope: Scope, id: string): Promise<readonly TaskProcess[]> {
    return this.#runtime(scope, id).pids(scope, id);
  }

  /** A path in the options is written to, and nothing comes to content; else the image goes there. */
  async checkpoint(scope: Scope, { id, options }: CheckpointTask): Promise<readonly Descriptor[]> {
    const runtime = this.#runtime(scope, id);
    const given = imagePathOf(id, options);
    const path = given || (await this.#checkpoints.place());
    try {
      await runtime.checkpoint(scope, { id, path, ...(options && { options }) });
      if (given) return [];
      const { spec } = await this.#containers.get(scope, id);
      return await this.#checkpoints.store(scope, path, spec);
    } finally {
      if (!given) await rm(path, { recursive: true, force: true });
    }
  }

  async update(
    scope: Scope,
    id: string,
    resources: AnyMessage,
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await this.#runtime(scope, id).update(scope, id, resources, annotations);
  }

  async metrics(scope: Scope, filters: readonly string[] = []): Promise<readonly TaskMetric[]> {
    const containers = await this.#containers.list(scope);
    const names = new Map(containers.map((container) => [container.id, container.runtime.name]));
    const matches = compileFilters(filters);
    const ids = [...this.#runtimes.values()].flatMap((runtime) => runtime.tasks(scope.namespace));
    const chosen = ids.filter((id) => matches((path) => metricField(path, id, scope.namespace, names.get(id) ?? '')));
    const metrics = await Promise.all(chosen.map((id) => this.#metric(scope, id)));
    return metrics.filter(isThere);
  }

  /** undefined when there are none to be had: no control group, no answer, or the task is gone. */
  async #metric(scope: Scope, id: string): Promise<TaskMetric | undefined> {
    const data = await inTime((signal) =>
      unlessGone(Promise.try(() => this.#runtime(scope, id).stats({ ...scope, signal }, id))),
    );
    return data && { id, timestamp: now(), data };
  }

  /** Goes on when the runtime is restarted meanwhile with other settings: the process knows nothing of it. */
  async wait(scope: Scope, process: ProcessId): Promise<ExitStatus> {
    for (;;) {
      const runtime = this.#runtime(scope, process.id);
      const [id = ''] = [...this.#runtimes].find(([, one]) => one === runtime) ?? [];
      try {
        return await runtime.wait(scope, process);
      } catch (error) {
        const isThere = this.#runtimes.get(id) === runtime;
        if (isThere || !hasCode(error, 'UNAVAILABLE') || !(await isBack(this.#runtimes, id, scope.signal))) throw error;
      }
    }
  }
}

function metricField(
  path: readonly string[],
  id: Container['id'],
  namespace: string,
  runtime: string,
): string | undefined {
  if (path.length !== 1) return undefined;
  if (path[0] === 'id') return nonEmpty(id);
  if (path[0] === 'namespace') return nonEmpty(namespace);
  return path[0] === 'runtime' ? nonEmpty(runtime) : undefined;
}
