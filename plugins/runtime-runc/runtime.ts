import { join } from 'node:path';
import type { Logger } from 'pino';
import { TaskDelete, TaskExecAdded, TaskExit } from '../../api/gen/events/task.js';
import type { Event, ProcessRecord } from '../../api/gen/runtime/supervisor.js';
import { Status } from '../../api/gen/types/task.js';
import type { Events } from '../../kernel/contracts/events.js';
import type {
  DeletedProcess,
  ExitStatus,
  NewExec,
  NewTask,
  ProcessId,
  ProcessState,
  ProcessStatus,
  Runtime,
  RuntimeFacts,
  TaskCheckpoint,
  TaskProcess,
  TerminalSize,
} from '../../kernel/contracts/runtime.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import { alreadyExists, hasCode, internal, invalidArgument, notFound, unimplemented } from '../../kernel/errors.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { Limit } from '../../lib/limit.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import type { CallOptions } from '../../lib/ttrpc/client.js';
import { findBundles, makeBundle, removeBundle, type SpecView, viewSpec } from './bundle.js';
import { readFeatures, readVersion } from './facts.js';
import type { SupervisorLink, TaskStub } from './link.js';
import { SupervisorLinks } from './links.js';
import { parseOptions } from './options.js';
import { readRecord } from './records.js';
import { findProgram } from './supervisor/oci-runtime.js';

export type Grouping = 'namespace' | 'pod' | 'container';

export interface RuncRuntimeOptions {
  readonly names: readonly string[];
  readonly grouping: Grouping;
  /** Default OCI runtime: a name or an absolute path. */
  readonly binary: string;
  readonly runtimeRoot: string;
  readonly systemdCgroup: boolean;
  /** Milliseconds one run of the OCI runtime may take. */
  readonly deadline: number;
  /** Milliseconds that a supervisor without tasks is kept. */
  readonly idle: number;
  /** The plugin's state directory. */
  readonly state: string;
  readonly events: Events;
  readonly log: Logger;
}

interface Entry {
  readonly link: SupervisorLink;
  readonly bundle: string;
  /** Exits that were published since this daemon started, by exec id. */
  readonly exits: Map<string, ExitStatus>;
  /** A call is under way that deletes it. */
  deleting: boolean;
}

/** Annotations that name the pod a container belongs to. */
const POD_ANNOTATIONS = ['io.containerd.runc.v2.group', 'io.kubernetes.cri.sandbox-id'];

/** Milliseconds beyond the runtime's own deadline before a supervisor counts as mute. */
const ANSWER_GRACE = 5000;
/** Supervisors brought back at once when the daemon starts. */
const ADOPTIONS_AT_ONCE = 4;

const STATUSES: Readonly<Record<number, ProcessStatus>> = {
  [Status.CREATED]: 'created',
  [Status.RUNNING]: 'running',
  [Status.STOPPED]: 'stopped',
  [Status.PAUSED]: 'paused',
  [Status.PAUSING]: 'pausing',
};

const wire = ({ id, execId = '' }: ProcessId) => ({ id, execId });

/** Runs containers through an OCI runtime, watched over by supervisors. */
export class RuncRuntime implements Runtime {
  readonly names: readonly string[];
  readonly #options: RuncRuntimeOptions;
  readonly #links: SupervisorLinks;
  readonly #tasks = new Map<string, Map<string, Entry>>();

  private constructor(options: RuncRuntimeOptions) {
    this.names = options.names;
    this.#options = options;
    this.#links = new SupervisorLinks({
      state: options.state,
      settings: options,
      idle: options.idle,
      log: options.log,
      onEvent: (namespace, event) => this.#onEvent(namespace, event),
      onProcesses: (link, namespace, processes) => this.#onProcesses(link, namespace, processes),
    });
  }

  /** Finds what an earlier daemon left. Supervisors that do not answer are waited for in the background. */
  static async open(options: RuncRuntimeOptions, budget: number): Promise<RuncRuntime> {
    const runtime = new RuncRuntime(options);
    await runtime.#adopt(budget);
    return runtime;
  }

  async #adopt(budget: number): Promise<void> {
    const links = new Set<SupervisorLink>();
    for (const { namespace, id, path } of await findBundles(this.#options.state)) {
      const link = await this.#adoptBundle(namespace, id, path);
      if (link) links.add(link);
    }
    const limit = new Limit(ADOPTIONS_AT_ONCE);
    const adoptions = [...links].map((link) => limit.run(() => link.recover()));
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, budget);
    await Promise.race([Promise.all(adoptions), timeout.promise]);
    clearTimeout(timer);
  }

  async #adoptBundle(namespace: string, id: string, bundle: string): Promise<SupervisorLink | undefined> {
    const { log } = this.#options;
    try {
      const group = readRecord(bundle, '')?.task?.group;
      if (group === undefined) {
        // The record is written before anything is made: there is nothing but the directory.
        await removeBundle(bundle);
        return undefined;
      }
      const link = await this.#links.get(namespace, group);
      this.#add(namespace, id, { link, bundle, exits: new Map(), deleting: false });
      return link;
    } catch (error) {
      log.error({ err: error, bundle }, 'bundle left alone');
      return undefined;
    }
  }

  #add(namespace: string, id: string, entry: Entry): void {
    const tasks = this.#tasks.get(namespace) ?? new Map<string, Entry>();
    tasks.set(id, entry);
    this.#tasks.set(namespace, tasks);
    entry.link.addTask(1);
  }

  /** The task is no more: its bundle goes, and perhaps its supervisor. */
  async #remove(namespace: string, id: string, { link, bundle }: Entry): Promise<void> {
    const tasks = this.#tasks.get(namespace);
    tasks?.delete(id);
    if (tasks?.size === 0) this.#tasks.delete(namespace);
    link.addTask(-1);
    link.release(id, '');
    this.#links.settle(link);
    await removeBundle(bundle);
  }

  #entry(namespace: string, id: string): Entry {
    const entry = this.#tasks.get(namespace)?.get(id);
    if (entry === undefined) throw notFound(`task "${id}" does not exist in namespace "${namespace}"`);
    return entry;
  }

  tasks(namespace: string): readonly string[] {
    return [...(this.#tasks.get(namespace)?.keys() ?? [])];
  }

  namespaces(): readonly string[] {
    return [...this.#tasks.keys()];
  }

  #onEvent(namespace: string, { topic, event, timestamp }: Event): void {
    if (event === undefined) return;
    if (isAny(TaskExecAdded, event)) {
      const { containerId, execId } = unpackAny(TaskExecAdded, event);
      this.#tasks.get(namespace)?.get(containerId)?.exits.delete(execId);
    }
    if (isAny(TaskExit, event)) {
      const exit = unpackAny(TaskExit, event);
      const entry = this.#tasks.get(namespace)?.get(exit.containerId);
      const execId = exit.id === exit.containerId ? '' : exit.id;
      // A supervisor that was brought back tells again what its predecessor could not get confirmed.
      if (entry?.exits.has(execId)) return;
      entry?.exits.set(execId, { exitStatus: exit.exitStatus, exitedAt: fromTimestamp(exit.exitedAt) });
      entry?.link.release(exit.containerId, execId);
    }
    if (isAny(TaskDelete, event)) this.#onDeleted(namespace, unpackAny(TaskDelete, event).containerId);
    this.#options.events.forward({ timestamp: fromTimestamp(timestamp), namespace, topic, event });
  }

  /** Deleted by somebody who spoke to the supervisor directly. */
  #onDeleted(namespace: string, id: string): void {
    const entry = this.#tasks.get(namespace)?.get(id);
    if (entry === undefined || entry.deleting) return;
    this.#drop(namespace, id, entry);
  }

  #drop(namespace: string, id: string, entry: Entry): void {
    this.#remove(namespace, id, entry).catch((error: unknown) =>
      this.#options.log.error({ err: error, namespace, id }, 'removing a bundle'),
    );
  }

  /** What the supervisor of a link has; of the others of that link nothing is left. */
  #onProcesses(link: SupervisorLink, namespace: string, processes: readonly ProcessRecord[]): void {
    const ids = new Set(processes.map(({ id }) => id));
    for (const [id, entry] of [...(this.#tasks.get(namespace) ?? [])]) {
      if (entry.link !== link || ids.has(id)) continue;
      this.#options.log.warn({ namespace, id }, 'task is gone: it was being made or deleted when its supervisor died');
      this.#drop(namespace, id, entry);
    }
  }

  async create(scope: Scope, task: NewTask): Promise<{ readonly pid: number }> {
    const { namespace } = scope;
    checkIdentifier(task.id, 'container id');
    if (task.checkpoint) throw unimplemented(`restoring task "${task.id}" from a checkpoint`);
    if (this.#tasks.get(namespace)?.has(task.id)) throw alreadyExists(`task "${task.id}" exists`);
    const spec = viewSpec(task.id, task.spec.value);
    parseOptions(task.options);
    const link = await this.#links.get(namespace, this.#groupOf(namespace, task, spec));
    const bundle = join(this.#links.bundles(namespace), task.id);
    await makeBundle(bundle, task, spec.rootGid, `unix://${link.address}`);
    // Counted from now on, so that a supervisor that dies meanwhile is brought back, which cleans up.
    link.addTask(1);
    try {
      const pid = await this.#createIn(scope, link, bundle, task);
      this.#add(namespace, task.id, { link, bundle, exits: new Map(), deleting: false });
      link.keepMade(bundle, '');
      return { pid };
    } catch (error) {
      await removeBundle(bundle);
      throw error;
    } finally {
      link.addTask(-1);
      this.#links.settle(link);
    }
  }

  #groupOf(namespace: string, { id, sandbox }: NewTask, { annotations }: SpecView): string {
    const { grouping } = this.#options;
    if (grouping === 'namespace') return namespace;
    const pod = POD_ANNOTATIONS.map((key) => annotations.get(key)).find((value) => value) ?? sandbox;
    return `${namespace}/${(grouping === 'pod' && pod) || id}`;
  }

  async #createIn(scope: Scope, link: SupervisorLink, bundle: string, task: NewTask): Promise<number> {
    const { id, terminal, stdin, stdout, stderr, options } = task;
    const request = {
      id,
      bundle,
      rootfs: task.rootfs.map(toMountMessage),
      terminal,
      stdin,
      stdout,
      stderr,
      checkpoint: '',
      parentCheckpoint: '',
      options: options && { typeUrl: options.typeUrl, value: options.value },
    };
    const call = this.#callOptions({ namespace: scope.namespace }, link);
    try {
      return (await (await link.connect()).create(request, call)).pid;
    } catch (error) {
      if (!hasCode(error, 'UNAVAILABLE')) throw error;
      return this.#afterLoss(error, link, bundle);
    }
  }

  /** The supervisor died during a create: its successor has either taken the task over, or removed what there was. */
  async #afterLoss(error: unknown, link: SupervisorLink, bundle: string): Promise<number> {
    await link.connect();
    const record = readRecord(bundle, '');
    if (record === undefined || record.pid === 0) throw error;
    return record.pid;
  }

  #callOptions({ signal }: Scope, link: SupervisorLink, timeout?: number): CallOptions {
    return {
      metadata: link.metadata,
      timeout: timeout ?? this.#options.deadline + ANSWER_GRACE,
      ...(signal && { signal }),
    };
  }

  async #call<T>(
    scope: Scope,
    id: string,
    call: (stub: TaskStub, options: CallOptions, entry: Entry) => Promise<T>,
  ): Promise<T> {
    const entry = this.#entry(scope.namespace, id);
    const stub = await entry.link.connect();
    return call(stub, this.#callOptions(scope, entry.link), entry);
  }

  async start(scope: Scope, process: ProcessId): Promise<{ readonly pid: number }> {
    return this.#call(scope, process.id, async (stub, options, { link, bundle }) => {
      const { pid } = await stub.start(wire(process), options);
      if (process.execId) link.keepMade(bundle, process.execId);
      return { pid };
    });
  }

  async delete(scope: Scope, process: ProcessId): Promise<DeletedProcess> {
    return this.#call(scope, process.id, async (stub, options, entry) => {
      entry.deleting ||= !process.execId;
      const deleted = stub.delete(wire(process), options).finally(() => {
        entry.deleting = false;
      });
      const { pid, exitStatus, exitedAt } = await deleted;
      if (process.execId) entry.link.release(process.id, process.execId);
      else await this.#remove(scope.namespace, process.id, entry);
      return { pid, exitStatus, exitedAt: fromTimestamp(exitedAt) };
    });
  }

  async state(scope: Scope, process: ProcessId): Promise<ProcessState> {
    return this.#call(scope, process.id, async (stub, options) => {
      const { id, execId, pid, status, terminal, stdin, stdout, stderr, exitStatus, exitedAt } = await stub.state(
        wire(process),
        options,
      );
      const state = { id, execId, pid, status: STATUSES[status] ?? 'unknown', terminal, stdin, stdout, stderr };
      return status === Status.STOPPED ? { ...state, exit: { exitStatus, exitedAt: fromTimestamp(exitedAt) } } : state;
    });
  }

  async exec(scope: Scope, { id, execId, spec, terminal, stdin, stdout, stderr }: NewExec): Promise<void> {
    const process = { typeUrl: spec.typeUrl, value: spec.value };
    const request = { id, execId, terminal, stdin, stdout, stderr, spec: process };
    await this.#call(scope, id, (stub, options) => stub.exec(request, options));
  }

  async kill(scope: Scope, process: ProcessId, signal: number, all = false): Promise<void> {
    if (!Number.isInteger(signal) || signal < 1) throw invalidArgument(`signal ${signal} does not exist`);
    await this.#call(scope, process.id, (stub, options) => stub.kill({ ...wire(process), signal, all }, options));
  }

  async resize(scope: Scope, process: ProcessId, { width, height }: TerminalSize): Promise<void> {
    await this.#call(scope, process.id, (stub, options) =>
      stub.resizePty({ ...wire(process), width, height }, options),
    );
  }

  async closeStdin(scope: Scope, process: ProcessId): Promise<void> {
    await this.#call(scope, process.id, (stub, options) => stub.closeIO({ ...wire(process), stdin: true }, options));
  }

  async pause(scope: Scope, id: string): Promise<void> {
    await this.#call(scope, id, (stub, options) => stub.pause({ id }, options));
  }

  async resume(scope: Scope, id: string): Promise<void> {
    await this.#call(scope, id, (stub, options) => stub.resume({ id }, options));
  }

  async pids(scope: Scope, id: string): Promise<readonly TaskProcess[]> {
    const { processes } = await this.#call(scope, id, (stub, options) => stub.pids({ id }, options));
    return processes.map(({ pid, info }) => (info === undefined ? { pid } : { pid, info }));
  }

  async checkpoint(scope: Scope, { id, path, options: any }: TaskCheckpoint): Promise<void> {
    const options = any && { typeUrl: any.typeUrl, value: any.value };
    await this.#call(scope, id, (stub, call) => stub.checkpoint({ id, path, options }, call));
  }

  async update(
    scope: Scope,
    id: string,
    { typeUrl, value }: AnyMessage,
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const request = { id, resources: { typeUrl, value }, annotations: { ...annotations } };
    await this.#call(scope, id, (stub, options) => stub.update(request, options));
  }

  async stats(scope: Scope, id: string): Promise<AnyMessage> {
    const { stats } = await this.#call(scope, id, (stub, options) => stub.stats({ id }, options));
    if (stats === undefined) throw internal(`the supervisor of task "${id}" sent no stats`);
    return stats;
  }

  /** Goes on waiting when the supervisor dies: its successor knows the process. */
  async wait(scope: Scope, process: ProcessId): Promise<ExitStatus> {
    for (;;) {
      const entry = this.#entry(scope.namespace, process.id);
      const stub = await entry.link.connect();
      const { signal } = scope;
      try {
        const { exitStatus, exitedAt } = await stub.wait(wire(process), {
          metadata: entry.link.metadata,
          ...(signal && { signal }),
        });
        return { exitStatus, exitedAt: fromTimestamp(exitedAt) };
      } catch (error) {
        if (!hasCode(error, 'UNAVAILABLE')) throw error;
      }
    }
  }

  async facts(name: string, any?: AnyMessage): Promise<RuntimeFacts> {
    const path = findProgram(parseOptions(any).binaryName || this.#options.binary);
    const [{ version, revision }, features] = await Promise.all([readVersion(path), readFeatures(path)]);
    return { name, version, revision, annotations: {}, ...(features && { features }) };
  }

  async close(): Promise<void> {
    await this.#links.close();
  }
}
