import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { TaskCreate } from '../../../api/gen/events/task.js';
import type { ProcessRecord } from '../../../api/gen/runtime/supervisor.js';
import type { CreateTaskRequest } from '../../../api/gen/runtime/task-v3.js';
import { Status } from '../../../api/gen/types/task.js';
import { alreadyExists, failedPrecondition, notFound } from '../../../kernel/errors.js';
import { whileDoing } from '../../../lib/errno.js';
import { checkIdentifier } from '../../../lib/identifier.js';
import { mountAll } from '../../../lib/linux/mount.js';
import type { SupervisorSettings } from '../../../lib/supervisor/settings.js';
import { parseOptions } from '../options.js';
import { removeRecord, writeRecord } from '../records.js';
import { withConsoleSize } from './console-size.js';
import { discardContainer, removeStopped } from './discard.js';
import { EventLog } from './events.js';
import { logError } from './log.js';
import { type MakeContext, makeProcess } from './make.js';
import { OciRuntime } from './oci-runtime.js';
import type { Process } from './process.js';
import { Reaper } from './reaper.js';
import { ShimGroup } from './shim-group.js';
import { readSpec } from './spec.js';
import { startMade } from './start.js';
import { Task } from './task.js';

/** Everything a task needs that follows from its record. */
export interface TaskSetup {
  readonly task: Task;
  readonly runtime: OciRuntime;
  readonly making: MakeContext;
}

/** The tasks of one group, and what they share. */
export class Supervisor {
  readonly settings: SupervisorSettings;
  readonly events = new EventLog();
  readonly reaper = new Reaper();
  readonly #tasks = new Map<string, Task>();
  readonly #group = new ShimGroup();
  /** Ids taken by creations that are under way. */
  readonly #creating = new Set<string>();

  constructor(settings: SupervisorSettings) {
    this.settings = settings;
  }

  get tasks(): IterableIterator<Task> {
    return this.#tasks.values();
  }

  /** True when there is nothing to supervise, nor will be by what is under way. */
  get idle(): boolean {
    return this.#tasks.size === 0 && this.#creating.size === 0;
  }

  /** NOT_FOUND. */
  task(id: string): Task {
    const task = this.#tasks.get(id);
    if (task === undefined) throw notFound(`task "${id}" does not exist`);
    return task;
  }

  keep(task: Task): void {
    this.#tasks.set(task.id, task);
  }

  /** Goes where the supervisor was that had this task before. */
  rejoinGroup({ id, task }: ProcessRecord): void {
    try {
      this.#group.join(parseOptions(task?.options).shimCgroup, id);
    } catch (error) {
      logError('the control group of the supervisor is gone', error, { id });
    }
  }

  /** The objects behind a record; nothing is done yet. */
  setUp(record: ProcessRecord): TaskSetup {
    const { namespace, bundles, binary, runtimeRoot, systemdCgroup, deadline } = this.settings;
    const bundle = join(bundles, record.id);
    const options = parseOptions(record.task?.options);
    const root = join(options.root || runtimeRoot, namespace);
    const runtime = new OciRuntime(
      {
        binary: options.binaryName || binary,
        root,
        systemdCgroup: options.systemdCgroup || systemdCgroup,
        deadline,
      },
      this.reaper,
    );
    const spec = readSpec(bundle);
    const onError = (error: unknown): void => logError('task', error, { namespace, id: record.id });
    const making = { reaper: this.reaper, namespace, bundle, ioUid: options.ioUid, ioGid: options.ioGid, onError };
    const task = new Task(record, {
      bundle,
      ownPidNamespace: spec.ownPidNamespace,
      runtime,
      reaper: this.reaper,
      events: this.events,
      startExec: (owner, exec) => this.#startExec(runtime, making, owner, exec),
      startContainer: (over) => startMade({ id: record.id, spec, runtime, over }),
      removeContainer: () => removeStopped({ id: record.id, bundle, runtime }, spec),
      onError,
    });
    return { task, runtime, making };
  }

  /** ALREADY_EXISTS; nothing is left of a creation that failed. */
  async create(request: CreateTaskRequest): Promise<number> {
    const id = checkIdentifier(request.id, 'container id');
    if (this.#tasks.has(id) || this.#creating.has(id)) throw alreadyExists(`task "${id}" exists`);
    if (realpathSync(request.bundle) !== join(this.settings.bundles, id)) {
      throw failedPrecondition(`bundle "${request.bundle}" of task "${id}" is not below "${this.settings.bundles}"`);
    }
    this.#creating.add(id);
    try {
      return await whileDoing(`creating task "${id}"`, this.#create(request));
    } finally {
      this.#creating.delete(id);
      this.#settleGroup();
    }
  }

  #settleGroup(): void {
    if (this.idle) this.#group.release();
  }

  async #create(request: CreateTaskRequest): Promise<number> {
    const { id, bundle, rootfs, terminal, stdin, stdout, stderr, options, checkpoint } = request;
    const { namespace, group } = this.settings;
    const record: ProcessRecord = {
      id,
      execId: '',
      status: Status.CREATED,
      pid: 0,
      startTime: '',
      stdio: { terminal, stdin, stdout, stderr },
      exit: undefined,
      terminalFd: 0,
      task: { namespace, group, options, mounted: rootfs.length > 0, restored: checkpoint !== '' },
      spec: new Uint8Array(),
      inputClosed: false,
    };
    const { task, runtime, making } = this.setUp(record);
    writeRecord(bundle, record);
    try {
      await this.#makeInit(task, request, runtime, making);
    } catch (error) {
      await discardContainer({ id, bundle, runtime }).catch((failure: unknown) =>
        logError('cleaning up after a failed create', failure, { namespace, id }),
      );
      removeRecord(bundle, record);
      throw error;
    }
    this.keep(task);
    const { pid } = record;
    const io = { stdin, stdout, stderr, terminal };
    this.events.publish('/tasks/create', TaskCreate, { containerId: id, bundle, rootfs, io, checkpoint, pid });
    return pid;
  }

  async #makeInit(
    task: Task,
    { id, rootfs, options: any, checkpoint: image }: CreateTaskRequest,
    runtime: OciRuntime,
    making: MakeContext,
  ): Promise<void> {
    const { noPivotRoot, noNewKeyring, shimCgroup, criuWorkPath } = parseOptions(any);
    this.#group.join(shimCgroup, id);
    const root = join(task.bundle, 'rootfs');
    mkdirSync(root, { recursive: true, mode: 0o711 });
    mountAll(rootfs, root);
    const checkpoint =
      image === '' ? {} : { checkpoint: image, criuWorkPath: criuWorkPath || join(task.bundle, 'criu') };
    const how = { noPivotRoot, noNewKeyring, ...checkpoint };
    await makeProcess(task.init, making, (parts) => runtime.create(id, { ...parts, ...how }));
    task.findGroup();
  }

  #startExec(runtime: OciRuntime, making: MakeContext, task: Task, exec: Process): Promise<void> {
    const spec = withConsoleSize(exec.record.spec, exec.size);
    const made = makeProcess(exec, making, (parts) => runtime.exec(task.id, parts, spec));
    return whileDoing(`starting ${exec.name}`, made);
  }

  /** Deletes a process; of an init process the whole task. */
  async delete(id: string, execId: string): ReturnType<Task['delete']> {
    const task = this.task(id);
    const result = await task.delete(execId);
    if (task.gone) this.#tasks.delete(id);
    this.#settleGroup();
    return result;
  }
}
