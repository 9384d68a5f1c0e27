import { existsSync } from 'node:fs';
import { lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { TaskDelete, TaskExit } from '../../api/gen/events/task.js';
import { Any } from '../../api/gen/google/protobuf/any.js';
import type { Envelope, Events } from '../../kernel/contracts/events.js';
import type {
  DeletedProcess,
  ExitStatus,
  NewTask,
  ProcessId,
  Runtime,
  RuntimeFacts,
} from '../../kernel/contracts/runtime.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import { alreadyExists, hasCode, notFound, unavailable } from '../../kernel/errors.js';
import { isErrno } from '../../lib/errno.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { Limit } from '../../lib/limit.js';
import { makeFifo } from '../../lib/linux/fifo.js';
import { findBundles, makeBundle, removeBundle, viewSpec } from '../../lib/oci/bundle.js';
import { isAny, packAny, unpackAny } from '../../lib/rpc/any.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { fromTimestamp, now, toTimestamp } from '../../lib/rpc/timestamp.js';
import { TaskForwarder, toAnyMessage, toProcessMessage } from '../../lib/task-service/forwarder.js';
import type { CallOptions } from '../../lib/ttrpc/client.js';
import { scopeMetadata } from '../../lib/ttrpc/metadata.js';
import {
  deleteShim,
  findShim,
  type ShimCommand,
  type StartedShim,
  shimInfo,
  shimVersion,
  startShim,
} from './binary.js';
import { formatEndpoint, parseAnswer, type ShimEndpoint } from './bootstrap.js';
import { connectShim, type ShimConnection, type TaskStub } from './connection.js';
import { inContractTerms } from './errors.js';
import { readShimLog } from './shim-log.js';

export interface ShimRuntimeOptions {
  readonly names: readonly string[];
  /** The plugin's state directory. */
  readonly state: string;
  /** Told to shims as the address of the gRPC server. */
  readonly grpcAddress: string;
  /** Told to shims as the address of the ttrpc server, where they deliver their events. */
  readonly ttrpcAddress: string;
  /** Program with a `publish` command, told to shims. */
  readonly publishBinary: string;
  /** Added to the environment of shims. */
  readonly environment: Readonly<Record<string, string>>;
  /** Milliseconds to start a shim, or to connect to one that runs. */
  readonly loadDeadline: number;
  /** Milliseconds to clean up after one. */
  readonly cleanupDeadline: number;
  /** Milliseconds for one that is not needed to end. */
  readonly shutdownDeadline: number;
  /** Milliseconds for any other call. */
  readonly callDeadline: number;
  readonly events: Events;
  readonly log: Logger;
}

interface Entry {
  readonly namespace: string;
  readonly id: string;
  readonly bundle: string;
  readonly shim: string;
  readonly connection: ShimConnection;
  readonly closeLog: () => void;
  /** By exec id. */
  readonly exits: Map<string, ExitStatus>;
  /** A call is under way that deletes it: the end of its shim is no accident. */
  deleting: boolean;
}

const LOG = 'log';
const WORK = 'work';
const ENDPOINT = 'bootstrap.json';
const SHIM_PATH = 'shim-binary-path';
const ADOPTIONS_AT_ONCE = 16;
/** Of a task whose shim is gone and cannot say. */
const UNKNOWN_EXIT = 255;

/** Runs containers through containerd's shims, version 2 of the shim contract. */
export class ShimRuntime extends TaskForwarder implements Runtime {
  readonly names: readonly string[];
  readonly #options: ShimRuntimeOptions;
  readonly #tasks = new Map<string, Map<string, Entry>>();
  readonly #closing = new AbortController();

  private constructor(options: ShimRuntimeOptions) {
    super();
    this.names = options.names;
    this.#options = options;
  }

  /** Connects to the shims an earlier daemon left; cleans up after those that do not answer. */
  static async open(options: ShimRuntimeOptions): Promise<ShimRuntime> {
    const runtime = new ShimRuntime(options);
    void runtime.#followEvents();
    const limit = new Limit(ADOPTIONS_AT_ONCE);
    const bundles = findBundles(options.state);
    await Promise.all(bundles.map((bundle) => limit.run(() => runtime.#adopt(bundle))));
    return runtime;
  }

  /** Until closed. Exits that shims have told are not told again when they are cleaned up after. */
  async #followEvents(): Promise<void> {
    const { events, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        for await (const envelope of events.subscribe(['topic=="/tasks/exit"'], signal)) this.#onExit(envelope);
        return;
      } catch (error) {
        log.error({ err: error }, 'following the exits of tasks');
        if (!hasCode(error, 'RESOURCE_EXHAUSTED')) return;
      }
    }
  }

  async #adopt({ namespace, id, path }: { namespace: string; id: string; path: string }): Promise<void> {
    const { log } = this.#options;
    try {
      const shim = await readIfThere(join(path, SHIM_PATH));
      const endpoint = await readIfThere(join(path, ENDPOINT));
      if (shim === undefined || endpoint === undefined) {
        await removeBundle(path);
        return;
      }
      const entry = await this.#reconnect(namespace, id, path, shim, parseAnswer(Buffer.from(endpoint)));
      if (entry === undefined) await this.#cleanUp({ namespace, id, bundle: path, shim, exits: new Map() });
    } catch (error) {
      log.error({ err: error, bundle: path }, 'bundle left alone');
    }
  }

  /** undefined when the shim is gone, or has no such task. One that is only mute is kept. */
  async #reconnect(
    namespace: string,
    id: string,
    bundle: string,
    shim: string,
    endpoint: ShimEndpoint,
  ): Promise<Entry | undefined> {
    const options = { metadata: scopeMetadata({ namespace }), timeout: this.#options.loadDeadline };
    try {
      let answers = true;
      const connection = await connectShim(endpoint, options, id, () => {
        answers = false;
      });
      const entry = this.#add(namespace, id, bundle, shim, connection);
      if (!answers) return entry;
      await connection.tasks.state({ id, execId: '' }, options).catch((error: unknown) => {
        if (hasCode(error, 'DEADLINE_EXCEEDED')) return;
        this.#take(entry);
        connection.close();
        throw error;
      });
      return entry;
    } catch (error) {
      if (hasCode(error, 'UNAVAILABLE') || hasCode(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  #add(namespace: string, id: string, bundle: string, shim: string, connection: ShimConnection): Entry {
    const log = this.#options.log.child({ namespace, id });
    const closeLog = readShimLog(join(bundle, LOG), log);
    const entry = { namespace, id, bundle, shim, connection, closeLog, exits: new Map(), deleting: false };
    const tasks = this.#tasks.get(namespace) ?? new Map<string, Entry>();
    tasks.set(id, entry);
    this.#tasks.set(namespace, tasks);
    connection.ended
      .then(() => this.#onShimGone(entry))
      .catch((error: unknown) => log.error({ err: error }, 'cleaning up after a shim'));
    return entry;
  }

  /** The task is ours no more. False when it was not. */
  #take(entry: Entry): boolean {
    const tasks = this.#tasks.get(entry.namespace);
    if (tasks?.get(entry.id) !== entry) return false;
    tasks.delete(entry.id);
    if (tasks.size === 0) this.#tasks.delete(entry.namespace);
    entry.closeLog();
    return true;
  }

  async #onShimGone(entry: Entry): Promise<void> {
    if (this.#closing.signal.aborted || entry.deleting || !this.#take(entry)) return;
    this.#options.log.warn({ namespace: entry.namespace, id: entry.id }, 'shim is gone, cleaning up');
    await this.#cleanUp(entry);
  }

  /** Removes what a dead shim left, and tells the exit it cannot tell any more. */
  async #cleanUp(entry: Pick<Entry, 'namespace' | 'id' | 'bundle' | 'shim' | 'exits'>): Promise<void> {
    const { namespace, id, bundle, exits } = entry;
    const { pid, exitStatus, exitedAt } = await deleteShim(this.#command(entry, undefined)).catch((error: unknown) => {
      this.#options.log.error({ err: error, namespace, id }, 'cleaning up after a shim');
      return { pid: 0, exitStatus: UNKNOWN_EXIT, exitedAt: toTimestamp(now()) };
    });
    const exit = { containerId: id, id, pid, exitStatus, exitedAt };
    if (!exits.has('')) this.#options.events.publish(namespace, '/tasks/exit', packAny(TaskExit, exit));
    exits.set('', exits.get('') ?? { exitStatus, exitedAt: fromTimestamp(exitedAt) });
    const gone = { containerId: id, id: '', pid, exitStatus, exitedAt };
    this.#options.events.publish(namespace, '/tasks/delete', packAny(TaskDelete, gone));
    await this.#removeSocket(namespace, bundle);
    await removeBundle(bundle);
  }

  /** Of a dead shim: those of containerd leave it when they are killed. */
  async #removeSocket(namespace: string, bundle: string): Promise<void> {
    const endpoint = await readIfThere(join(bundle, ENDPOINT));
    if (endpoint === undefined) return;
    const { socket } = parseAnswer(Buffer.from(endpoint));
    if (this.#isShared(namespace, socket)) return;
    const stat = await lstat(socket).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw error;
    });
    if (stat?.isSocket()) await rm(socket, { force: true });
  }

  #onExit({ namespace, event }: Envelope): void {
    // Anybody may publish under that topic.
    if (!isAny(TaskExit, event)) return;
    try {
      const { containerId, id, exitStatus, exitedAt } = unpackAny(TaskExit, event);
      const exits = this.#tasks.get(namespace)?.get(containerId)?.exits;
      exits?.set(id === containerId ? '' : id, { exitStatus, exitedAt: fromTimestamp(exitedAt) });
    } catch (error) {
      this.#options.log.warn({ err: error, namespace }, 'an exit that is none was published');
    }
  }

  tasks(namespace: string): readonly string[] {
    return [...(this.#tasks.get(namespace)?.keys() ?? [])];
  }

  namespaces(): readonly string[] {
    return [...this.#tasks.keys()];
  }

  #command(
    { namespace, id, bundle, shim }: Pick<Entry, 'namespace' | 'id' | 'bundle' | 'shim'>,
    options: AnyMessage | undefined,
  ): ShimCommand {
    const { grpcAddress, ttrpcAddress, publishBinary, environment, loadDeadline } = this.#options;
    return {
      path: shim,
      bundle,
      id,
      namespace,
      options,
      grpcAddress,
      ttrpcAddress,
      publishBinary,
      environment,
      deadline: loadDeadline,
    };
  }

  async create(scope: Scope, task: NewTask): Promise<{ readonly pid: number }> {
    const { namespace } = scope;
    const id = checkIdentifier(task.id, 'container id');
    if (this.#tasks.get(namespace)?.has(id)) throw alreadyExists(`task "${id}" exists`);
    const shim = findShim(task.runtimePath || task.runtime);
    const { rootGid } = viewSpec(id, task.spec.value);
    const bundle = join(this.#options.state, namespace, id);
    const files = { runtime: task.runtime, [SHIM_PATH]: shim };
    makeBundle(bundle, { id, spec: task.spec.value, rootGid, files });
    try {
      makeFifo(join(bundle, LOG), 0o600);
      // Where shims have criu work.
      await mkdir(join(bundle, WORK), { mode: 0o700 });
      return await this.#createIn(namespace, task, bundle, shim);
    } catch (error) {
      await removeBundle(bundle);
      throw inContractTerms(error);
    }
  }

  async #createIn(namespace: string, task: NewTask, bundle: string, shim: string): Promise<{ readonly pid: number }> {
    const { id, options } = task;
    const command = this.#command({ namespace, id, bundle, shim }, options);
    // The shim opens it for writing, which must not wait for a reader.
    const closeLog = readShimLog(join(bundle, LOG), this.#options.log.child({ namespace, id }));
    let connection: ShimConnection | undefined;
    let shimAtWork: StartedShim | undefined;
    try {
      shimAtWork = await startShim(command);
      await writeFile(join(bundle, ENDPOINT), formatEndpoint(shimAtWork), { mode: 0o600 });
      const probe = this.#callOptions({ namespace }, this.#options.loadDeadline);
      connection = await connectShim(shimAtWork, probe, id, (error) => {
        throw error;
      });
      const { pid } = await connection.tasks.create(createRequest(task, bundle), this.#callOptions({ namespace }));
      this.#add(namespace, id, bundle, shim, connection);
      return { pid };
    } catch (error) {
      await this.#giveUp(command, connection);
      if (shimAtWork && !this.#isShared(namespace, shimAtWork.socket)) shimAtWork.abandon();
      throw error;
    } finally {
      closeLog();
    }
  }

  /** After a create that failed: the shim ends, unless it has others, and cleans up. */
  async #giveUp(command: ShimCommand, connection: ShimConnection | undefined): Promise<void> {
    const { log, shutdownDeadline } = this.#options;
    const { namespace, id } = command;
    if (connection) await this.#shutDown(connection, namespace, id);
    connection?.close();
    await deleteShim({ ...command, deadline: shutdownDeadline }).catch((error: unknown) =>
      log.warn({ err: error, namespace, id }, 'cleaning up after a create that failed'),
    );
  }

  /** Asks a shim to end; one that still has tasks does not. */
  async #shutDown({ tasks, ended, socket }: ShimConnection, namespace: string, id: string): Promise<void> {
    const { shutdownDeadline, log } = this.#options;
    try {
      await tasks.shutdown({ id, now: false }, this.#callOptions({ namespace }, shutdownDeadline));
    } catch (error) {
      // It may end before it has answered.
      if (!hasCode(error, 'UNAVAILABLE')) log.warn({ err: error, namespace, id }, 'shim does not shut down');
    }
    if (!this.#isShared(namespace, socket))
      await Promise.race([ended, delay(shutdownDeadline, undefined, { ref: false })]);
  }

  /** Whether a task there is has its shim at that socket. */
  #isShared(namespace: string, socket: string): boolean {
    return [...(this.#tasks.get(namespace)?.values() ?? [])].some(({ connection }) => connection.socket === socket);
  }

  #callOptions({ namespace, signal }: Scope, timeout = this.#options.callDeadline): CallOptions {
    return { metadata: scopeMetadata({ namespace }), timeout, ...(signal && { signal }) };
  }

  #entry({ namespace }: Scope, id: string): Entry {
    const entry = this.#tasks.get(namespace)?.get(id);
    if (entry === undefined) throw notFound(`task "${id}" does not exist in namespace "${namespace}"`);
    return entry;
  }

  protected override async forward<T>(
    scope: Scope,
    id: string,
    call: (stub: TaskStub, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const entry = this.#entry(scope, id);
    try {
      return await call(entry.connection.tasks, this.#callOptions(scope));
    } catch (error) {
      throw inContractTerms(error);
    }
  }

  async start(scope: Scope, process: ProcessId): Promise<{ readonly pid: number }> {
    return this.forward(scope, process.id, (stub, options) => stub.start(toProcessMessage(process), options));
  }

  async delete(scope: Scope, process: ProcessId): Promise<DeletedProcess> {
    const entry = this.#entry(scope, process.id);
    const isInit = !process.execId;
    if (isInit) entry.deleting = true;
    try {
      const deleted = await this.forward(scope, process.id, (stub, options) =>
        stub.delete(toProcessMessage(process), options),
      );
      if (isInit) await this.#remove(entry);
      const { pid, exitStatus, exitedAt } = deleted;
      return { pid, exitStatus, exitedAt: fromTimestamp(exitedAt) };
    } catch (error) {
      entry.deleting = false;
      throw error;
    }
  }

  async #remove(entry: Entry): Promise<void> {
    this.#take(entry);
    await this.#shutDown(entry.connection, entry.namespace, entry.id);
    entry.connection.close();
    await removeBundle(entry.bundle);
  }

  async wait(scope: Scope, process: ProcessId): Promise<ExitStatus> {
    const entry = this.#entry(scope, process.id);
    const { signal, namespace } = scope;
    try {
      const { exitStatus, exitedAt } = await entry.connection.tasks.wait(toProcessMessage(process), {
        metadata: scopeMetadata({ namespace }),
        ...(signal && { signal }),
      });
      return { exitStatus, exitedAt: fromTimestamp(exitedAt) };
    } catch (error) {
      if (!hasCode(error, 'UNAVAILABLE')) throw inContractTerms(error);
      return this.#exitOfLost(entry, process.execId ?? '');
    }
  }

  /** The shim died while somebody waited: cleaning up tells how the task ended. */
  async #exitOfLost(entry: Entry, execId: string): Promise<ExitStatus> {
    const deadline = Date.now() + this.#options.cleanupDeadline;
    while (!entry.exits.has(execId) && Date.now() < deadline) await delay(20);
    const exit = entry.exits.get(execId) ?? entry.exits.get('');
    if (exit === undefined) throw unavailable(`the shim of task "${entry.id}" has ended`);
    return exit;
  }

  async facts(name: string, any?: AnyMessage): Promise<RuntimeFacts> {
    const path = findShim(name);
    const { loadDeadline } = this.#options;
    const input = any === undefined ? new Uint8Array() : Any.encode(toAnyMessage(any)).finish();
    const info = await shimInfo(path, input, loadDeadline);
    const version = info?.version?.version || (await shimVersion(path, loadDeadline));
    const revision = info?.version?.revision ?? '';
    return {
      name,
      version,
      revision,
      annotations: info?.annotations ?? {},
      ...(info?.features && { features: info.features }),
    };
  }

  /** Shims and their tasks go on. */
  async close(): Promise<void> {
    this.#closing.abort();
    for (const tasks of this.#tasks.values()) {
      for (const { connection, closeLog } of tasks.values()) {
        connection.close();
        closeLog();
      }
    }
  }
}

const readIfThere = async (path: string): Promise<string | undefined> =>
  existsSync(path) ? readFile(path, 'utf8') : undefined;

function createRequest(
  { id, rootfs, terminal, stdin, stdout, stderr, options, checkpoint = '' }: NewTask,
  bundle: string,
) {
  return {
    id,
    bundle,
    rootfs: rootfs.map(toMountMessage),
    terminal,
    stdin,
    stdout,
    stderr,
    checkpoint,
    parentCheckpoint: '',
    options: options && toAnyMessage(options),
  };
}
