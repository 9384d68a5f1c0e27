import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { TaskDelete, TaskExit } from '../../api/gen/events/task.js';
import type { Event, ProcessRecord } from '../../api/gen/runtime/supervisor.js';
import type { Events } from '../../kernel/contracts/events.js';
import type {
  DeletedProcess,
  ExitStatus,
  NewTask,
  ProcessId,
  Runtime,
  RuntimeFacts,
} from '../../kernel/contracts/runtime.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import { alreadyExists, hasCode, notFound } from '../../kernel/errors.js';
import { expectMove } from '../../lib/cgroups/moves.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { Limit } from '../../lib/limit.js';
import { findBundles, makeBundle, removeBundle, type SpecView, viewSpec } from '../../lib/oci/bundle.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import { findUntold } from '../../lib/supervisor/layout.js';
import { removeNamespaceGroup } from '../../lib/supervisor/namespace-group.js';
import { TaskForwarder, toAnyMessage, toProcessMessage } from '../../lib/task-service/forwarder.js';
import type { CallOptions } from '../../lib/ttrpc/client.js';
import { EscapePolicy, type EscapePolicyKind } from './escape-policy.js';
import { readFeatures, readVersion } from './facts.js';
import type { SupervisorLink, TaskStub } from './link.js';
import { SupervisorLinks } from './links.js';
import { parseOptions } from './options.js';
import { RecentExits } from './recent-exits.js';
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
  readonly knownEscapes: EscapePolicyKind;
  /** Milliseconds one run of the OCI runtime may take. */
  readonly deadline: number;
  /** Milliseconds that a supervisor without tasks is kept. */
  readonly idle: number;
  /** Milliseconds events wait after a start that found tasks, so that clients can subscribe again first. */
  readonly eventGrace: number;
  /** The plugin's state directory. */
  readonly state: string;
  readonly events: Events;
  readonly log: Logger;
}

interface Entry {
  readonly link: SupervisorLink;
  readonly bundle: string;
  /** A call deletes it, or has. */
  deleting: boolean;
  /** Its removal, once it is no more. */
  removed?: Promise<void>;
}

/** Annotations that name the pod a container belongs to. */
const POD_ANNOTATIONS = ['io.containerd.runc.v2.group', 'io.kubernetes.cri.sandbox-id'];

/** Milliseconds beyond the runtime's own deadline before a supervisor counts as mute. */
const ANSWER_GRACE = 5000;
/** Supervisors brought back at once when the daemon starts. */
const ADOPTIONS_AT_ONCE = 4;

/** Runs containers through an OCI runtime, watched over by supervisors. */
export class RuncRuntime extends TaskForwarder implements Runtime {
  readonly names: readonly string[];
  readonly #options: RuncRuntimeOptions;
  readonly #links: SupervisorLinks;
  readonly #tasks = new Map<string, Map<string, Entry>>();
  readonly #told = new RecentExits();
  readonly #escapes: EscapePolicy;
  /** Events are taken from supervisors once it resolves. */
  readonly #telling = Promise.withResolvers<void>();

  private constructor(options: RuncRuntimeOptions) {
    super();
    this.names = options.names;
    this.#options = options;
    this.#escapes = new EscapePolicy(options.knownEscapes, options.log);
    this.#links = new SupervisorLinks({
      state: options.state,
      settings: options,
      idle: options.idle,
      log: options.log,
      telling: this.#telling.promise,
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
    for (const { namespace, id, path } of findBundles(this.#options.state)) {
      const link = await this.#adoptBundle(namespace, id, path);
      if (link) links.add(link);
    }
    for (const { namespace, group } of findUntold(this.#options.state)) {
      links.add(await this.#links.get(namespace, group));
    }
    this.#removeNamespaceGroups();
    if (links.size === 0) this.#telling.resolve();
    else setTimeout(this.#telling.resolve, this.#options.eventGrace).unref();
    const limit = new Limit(ADOPTIONS_AT_ONCE);
    const adoptions = [...links].map((link) => limit.run(() => link.recover()));
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, budget);
    await Promise.race([Promise.all(adoptions), timeout.promise]);
    clearTimeout(timer);
  }

  /** Of namespaces whose last task was deleted by a supervisor that died before it could do this. */
  #removeNamespaceGroups(): void {
    const names = readdirSync(this.#options.state).filter((name) => !name.startsWith('.') && !this.#tasks.has(name));
    for (const name of names) removeNamespaceGroup(name);
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
      this.#add(namespace, id, { link, bundle, deleting: false });
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

  /** The task is no more: a delete and its event may both say so, in either order, and it is removed once. */
  #remove(namespace: string, id: string, entry: Entry): Promise<void> {
    entry.removed ??= this.#removeNow(namespace, id, entry);
    return entry.removed;
  }

  /** Its bundle goes, and perhaps its supervisor. */
  async #removeNow(namespace: string, id: string, { link, bundle }: Entry): Promise<void> {
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
    if (isAny(TaskExit, event)) {
      const exit = unpackAny(TaskExit, event);
      // A supervisor that was brought back tells again what its predecessor could not get confirmed.
      if (!this.#told.add(namespace, exit)) return;
      const execId = exit.id === exit.containerId ? '' : exit.id;
      this.#tasks.get(namespace)?.get(exit.containerId)?.link.release(exit.containerId, execId);
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
    if (this.#tasks.get(namespace)?.has(task.id)) throw alreadyExists(`task "${task.id}" exists`);
    expectMove();
    const spec = viewSpec(task.id, task.spec.value);
    await this.#escapes.check(findProgram(parseOptions(task.options).binaryName || this.#options.binary));
    const link = await this.#links.get(namespace, this.#groupOf(namespace, task, spec));
    const bundle = join(this.#links.bundles(namespace), task.id);
    const files = { runtime: task.runtime, address: `unix://${link.address}` };
    makeBundle(bundle, { id: task.id, spec: task.spec.value, rootGid: spec.rootGid, files });
    // Counted from now on, so that a supervisor that dies meanwhile is brought back, which cleans up.
    link.addTask(1);
    try {
      const pid = await this.#createIn(scope, link, bundle, task);
      this.#add(namespace, task.id, { link, bundle, deleting: false });
      link.keepMade(bundle, '');
      return { pid };
    } catch (error) {
      // With a record there, the supervisor is at it, though it did not answer: as after a restart, the task is its.
      if (readRecord(bundle, '') === undefined) await removeBundle(bundle);
      else this.#add(namespace, task.id, { link, bundle, deleting: false });
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
      checkpoint: task.checkpoint ?? '',
      parentCheckpoint: '',
      options: options && toAnyMessage(options),
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
    await link.recover();
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

  protected override forward<T>(
    scope: Scope,
    id: string,
    call: (stub: TaskStub, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    return this.#call(scope, id, call);
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
    if (process.execId) expectMove();
    return this.#call(scope, process.id, async (stub, options, { link, bundle }) => {
      const { pid } = await stub.start(toProcessMessage(process), options);
      if (process.execId) link.keepMade(bundle, process.execId);
      return { pid };
    });
  }

  async delete(scope: Scope, process: ProcessId): Promise<DeletedProcess> {
    return this.#call(scope, process.id, async (stub, options, entry) => {
      const deleted = stub.delete(toProcessMessage(process), options);
      const { pid, exitStatus, exitedAt } = await (process.execId ? deleted : this.#whileDeleting(entry, deleted));
      if (process.execId) entry.link.release(process.id, process.execId);
      else await this.#remove(scope.namespace, process.id, entry);
      return { pid, exitStatus, exitedAt: fromTimestamp(exitedAt) };
    });
  }

  /** Its event, which may come first, leaves the rest to the call: until that is answered, the supervisor is at the bundle. */
  async #whileDeleting<T>(entry: Entry, call: Promise<T>): Promise<T> {
    entry.deleting = true;
    try {
      return await call;
    } catch (error) {
      entry.deleting = false;
      throw error;
    }
  }

  override async closeStdin(scope: Scope, process: ProcessId): Promise<void> {
    await super.closeStdin(scope, process);
    this.#entry(scope.namespace, process.id).link.releaseInput(process.id, process.execId ?? '');
  }

  /** Goes on waiting when the supervisor dies: its successor knows the process. */
  async wait(scope: Scope, process: ProcessId): Promise<ExitStatus> {
    for (;;) {
      const entry = this.#entry(scope.namespace, process.id);
      const stub = await entry.link.connect();
      const { signal } = scope;
      try {
        const { exitStatus, exitedAt } = await stub.wait(toProcessMessage(process), {
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
