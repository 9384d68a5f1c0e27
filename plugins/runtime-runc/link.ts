import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Event, type ProcessRecord, SupervisorDefinition } from '../../api/gen/runtime/supervisor.js';
import { TaskDefinition } from '../../api/gen/runtime/task-v3.js';
import { hasCode, unavailable } from '../../kernel/errors.js';
import { ProcessHandle } from '../../lib/linux/pidfd.js';
import { FIRST_KEPT, launchSupervisor } from '../../lib/supervisor/launch.js';
import { hasUntold, SOCKET } from '../../lib/supervisor/layout.js';
import { removeNamespaceGroup } from '../../lib/supervisor/namespace-group.js';
import type { SupervisorSettings } from '../../lib/supervisor/settings.js';
import { type Stub, TtrpcClient } from '../../lib/ttrpc/client.js';
import { scopeMetadata } from '../../lib/ttrpc/metadata.js';
import { EventTaking } from './event-taking.js';
import { Keeper, type KeepRequest } from './keeper.js';
import { readRecord } from './records.js';

export type TaskStub = Stub<typeof TaskDefinition>;

export interface LinkOptions {
  readonly settings: SupervisorSettings;
  /** The supervisor's own directory. */
  readonly directory: string;
  readonly log: Logger;
  /** Events are taken from then on. */
  readonly telling: Promise<void>;
  onEvent(event: Event): void;
  /** It (again) tells which processes it has; those it does not name are gone. */
  onProcesses(processes: readonly ProcessRecord[]): void;
}

interface Session {
  readonly client: TtrpcClient;
  readonly tasks: TaskStub;
  readonly events: EventTaking;
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

  get namespace(): string {
    return this.#options.settings.namespace;
  }

  get address(): string {
    return join(this.#options.directory, SOCKET);
  }

  /** How many tasks depend on it. */
  get tasks(): number {
    return this.#tasks;
  }

  /** Whether it is brought back when it dies: there are tasks, or exits that it wrote down and nobody has heard of. */
  get #needed(): boolean {
    return this.#tasks > 0 || this.#hasUntold;
  }

  get #hasUntold(): boolean {
    return hasUntold(this.#options.directory);
  }

  addTask(change: 1 | -1): void {
    this.#tasks += change;
  }

  /** The supervisor's tasks, as soon as it serves. UNAVAILABLE when it cannot be started. */
  async connect(): Promise<TaskStub> {
    return (await this.#connected()).tasks;
  }

  async #connected(): Promise<Session> {
    for (;;) {
      if (this.#closed) throw unavailable(`the supervisor of "${this.group}" is not used any more`);
      this.#session ??= this.#open();
      const attempt = this.#session;
      try {
        const session = await attempt;
        if (!session.client.closed) return session;
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

  /** One that is about to die may still let itself be connected to: then there is a second try. */
  async #open(): Promise<Session> {
    try {
      return await this.#begin(await this.#reach());
    } catch (error) {
      if (!hasCode(error, 'UNAVAILABLE')) throw error;
      return this.#begin(await this.#reach());
    }
  }

  async #begin(client: TtrpcClient): Promise<Session> {
    try {
      const control = client.stub(SupervisorDefinition);
      const { pid, instance, processes } = await control.describe({}, { timeout: DESCRIBE_DEADLINE });
      this.#watchProcess(pid);
      this.#options.onProcesses(processes);
      for (const record of processes) if (record.exit === undefined) this.keep(record);
      const events = new EventTaking(client, instance, this.#options.onEvent);
      this.#takeEvents(client, events).catch((error: unknown) => this.#onEnd(client, error));
      return { client, tasks: client.stub(TaskDefinition), events };
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

  async #takeEvents(client: TtrpcClient, events: EventTaking): Promise<void> {
    await Promise.race([this.#options.telling, client.ended]);
    await events.run();
  }

  #onEnd(client: TtrpcClient, error: unknown): void {
    client.close();
    if (this.#closed) return;
    const { log } = this.#options;
    if (!this.#needed) {
      log.debug({ group: this.group }, 'supervisor has ended');
      // It does this itself, unless it was killed.
      const { namespace } = this.#options.settings;
      if (this.group === namespace) removeNamespaceGroup(namespace);
      return;
    }
    log.warn({ group: this.group, err: error, tasks: this.#tasks }, 'supervisor lost, bringing it back');
    void this.recover();
  }

  /** Connects, however long it takes, as long as it is needed. */
  async recover(): Promise<void> {
    for (let pause = FIRST_PAUSE; !this.#closed && this.#needed; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
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

  releaseInput(id: string, execId: string): void {
    this.#keeper.releaseInput(id, execId);
  }

  release(id: string, execId: string): void {
    this.#keeper.release(id, execId);
  }

  /** Resolves once all that there is to tell was told; false when it turns out that there is more. Throws when it cannot be. */
  async tellAll(): Promise<boolean> {
    await this.#options.telling;
    const session = this.#hasUntold ? await this.#connected() : await this.#living();
    await session?.events.drained();
    return !this.#hasUntold;
  }

  /** The session that stands; it is not made for this. */
  async #living(): Promise<Session | undefined> {
    const session = await this.#session?.catch(() => undefined);
    return session?.client.closed ? undefined : session;
  }

  /** Lets the supervisor be for the next daemon, with its tasks and what it has to tell; one that has neither is ended. */
  async close(): Promise<void> {
    this.#closed = true;
    const session = await this.#living();
    if (session) {
      await this.#leave(session).catch((error: unknown) =>
        this.#options.log.warn({ err: error, group: this.group }, 'supervisor does not answer, left as it is'),
      );
    }
    session?.client.close();
    this.#keeper.releaseAll();
    this.#process?.close();
    this.#process = undefined;
  }

  async #leave({ client, tasks, events }: Session): Promise<void> {
    await events.stop();
    if (this.#tasks > 0 || !(await events.allTold())) return;
    await tasks.shutdown({ id: '', now: false }, { metadata: this.metadata, timeout: SHUTDOWN_DEADLINE });
    await Promise.race([client.ended, delay(SHUTDOWN_DEADLINE, undefined, { ref: false })]);
  }
}
