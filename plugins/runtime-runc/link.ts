import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Event, type ProcessRecord, SupervisorDefinition } from '../../api/gen/runtime/supervisor.js';
import { TaskDefinition } from '../../api/gen/runtime/task-v3.js';
import { hasCode, unavailable } from '../../kernel/errors.js';
import { ProcessHandle } from '../../lib/linux/pidfd.js';
import { FIRST_KEPT, launchSupervisor } from '../../lib/supervisor/launch.js';
import { SOCKET } from '../../lib/supervisor/layout.js';
import type { SupervisorSettings } from '../../lib/supervisor/settings.js';
import { type Stub, TtrpcClient } from '../../lib/ttrpc/client.js';
import { scopeMetadata } from '../../lib/ttrpc/metadata.js';
import { Keeper, type KeepRequest } from './keeper.js';
import { readRecord } from './records.js';

export type TaskStub = Stub<typeof TaskDefinition>;

export interface LinkOptions {
  readonly settings: SupervisorSettings;
  /** The supervisor's own directory. */
  readonly directory: string;
  readonly log: Logger;
  onEvent(event: Event): void;
  /** It (again) tells which processes it has; those it does not name are gone. */
  onProcesses(processes: readonly ProcessRecord[]): void;
}

interface Session {
  readonly client: TtrpcClient;
  readonly tasks: TaskStub;
}

/** First and longest pause between attempts to bring a supervisor back, milliseconds. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 10_000;
/** Milliseconds a supervisor that serves has to say what it has. */
const DESCRIBE_DEADLINE = 5000;
const SHUTDOWN_DEADLINE = 3000;

/**
 * The daemon's end of one supervisor: finds or starts it, brings it back when
 * it dies while it has tasks, and takes its events.
 */
export class SupervisorLink {
  readonly #options: LinkOptions;
  readonly #keeper = new Keeper();
  readonly metadata: Readonly<Record<string, string>>;
  #session: Promise<Session> | undefined;
  #process: ProcessHandle | undefined;
  #tasks = 0;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.metadata = scopeMetadata(options.settings);
  }

  get group(): string {
    return this.#options.settings.group;
  }

  get address(): string {
    return join(this.#options.directory, SOCKET);
  }

  /** How many tasks depend on it: with none it is not brought back. */
  get tasks(): number {
    return this.#tasks;
  }

  addTask(change: 1 | -1): void {
    this.#tasks += change;
  }

  /** The supervisor's tasks, as soon as it serves. UNAVAILABLE when it cannot be started. */
  async connect(): Promise<TaskStub> {
    for (;;) {
      if (this.#closed) throw unavailable(`the supervisor of "${this.group}" is not used any more`);
      this.#session ??= this.#open();
      const attempt = this.#session;
      try {
        const { client, tasks } = await attempt;
        if (!client.closed) return tasks;
      } catch (error) {
        this.#forget(attempt);
        throw error;
      }
      this.#forget(attempt);
    }
  }

  #forget(attempt: Promise<Session>): void {
    if (this.#session === attempt) this.#session = undefined;
  }

  async #open(): Promise<Session> {
    const client = await this.#reach();
    try {
      const control = client.stub(SupervisorDefinition);
      const { pid, instance, processes } = await control.describe({}, { timeout: DESCRIBE_DEADLINE });
      this.#watchProcess(pid);
      this.#options.onProcesses(processes);
      for (const record of processes) if (record.exit === undefined) this.keep(record);
      this.#takeEvents(client, instance).catch((error: unknown) => this.#onEnd(client, error));
      return { client, tasks: client.stub(TaskDefinition) };
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Connects to the supervisor that runs, or to a new one. */
  async #reach(): Promise<TtrpcClient> {
    const { directory, settings } = this.#options;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    mkdirSync(settings.bundles, { recursive: true, mode: 0o711 });
    try {
      return await TtrpcClient.connect(this.address);
    } catch (error) {
      if (!hasCode(error, 'UNAVAILABLE')) throw error;
    }
    const pid = await launchSupervisor(directory, settings, this.#keeper.inheritance(FIRST_KEPT));
    this.#options.log.info({ group: this.group, pid }, 'supervisor started');
    return TtrpcClient.connect(this.address);
  }

  #watchProcess(pid: number): void {
    this.#process?.close();
    const handle = new ProcessHandle(pid);
    this.#process = handle;
    handle.onExit(() => {
      // Reaps it when it is our child.
      handle.exitStatus();
      handle.close();
      if (this.#process === handle) this.#process = undefined;
    }, true);
  }

  /** Hands over events as they come, and confirms them by asking for more. Ends by throwing. */
  async #takeEvents(client: TtrpcClient, instance: string): Promise<never> {
    const control = client.stub(SupervisorDefinition);
    let after = 0n;
    for (;;) {
      const { events } = await control.nextEvents({ instance, after });
      for (const event of events) {
        this.#options.onEvent(event);
        after = event.sequence;
      }
    }
  }

  #onEnd(client: TtrpcClient, error: unknown): void {
    client.close();
    if (this.#closed) return;
    const { log } = this.#options;
    if (this.#tasks === 0) {
      log.debug({ group: this.group }, 'supervisor has ended');
      return;
    }
    log.warn({ group: this.group, err: error, tasks: this.#tasks }, 'supervisor lost, bringing it back');
    this.recover().catch((failure: unknown) => log.error({ err: failure, group: this.group }, 'supervisor is gone'));
  }

  /** Connects, however long it takes, as long as there are tasks. */
  async recover(): Promise<void> {
    for (let pause = FIRST_PAUSE; !this.#closed && this.#tasks > 0; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        await this.connect();
        return;
      } catch (error) {
        this.#options.log.error({ err: error, group: this.group }, 'supervisor cannot be started');
        await delay(pause, undefined, { ref: false });
      }
    }
  }

  /** Holds on to what of a process would be lost with the supervisor. */
  keep(request: KeepRequest): void {
    this.#keeper.keep(this.#process, request);
  }

  /** As {@link keep}, of a process just made: what there is to know stands in its record. */
  keepMade(bundle: string, execId: string): void {
    const record = readRecord(bundle, execId);
    if (record !== undefined && record.exit === undefined) this.keep(record);
  }

  release(id: string, execId: string): void {
    this.#keeper.release(id, execId);
  }

  /** Ends a supervisor that has no tasks. */
  async shutdown(): Promise<void> {
    const session = await this.#session?.catch(() => undefined);
    if (session === undefined) return;
    await session.tasks.shutdown({ id: '', now: false }, { metadata: this.metadata, timeout: SHUTDOWN_DEADLINE });
    await Promise.race([session.client.ended, delay(SHUTDOWN_DEADLINE, undefined, { ref: false })]);
  }

  /** Lets the supervisor be, with its tasks, for the next daemon. */
  async close(): Promise<void> {
    this.#closed = true;
    const session = await this.#session?.catch(() => undefined);
    session?.client.close();
    this.#keeper.releaseAll();
    this.#process?.close();
    this.#process = undefined;
  }
}
