/** What the checks of the runtime kit work with: a subject in a directory of its own, containers of busybox, and clients. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TaskExit } from '../../api/gen/events/task.js';
import type { Envelope, Events } from '../../kernel/contracts/events.js';
import type { NewTask, ProcessId, Runtime, Stdio } from '../../kernel/contracts/runtime.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { compileFilters, type Filter } from '../../lib/filters/filters.js';
import type { Change } from '../../lib/oci/runtime-spec.js';
import { unpackAny } from '../../lib/rpc/any.js';
import { now } from '../../lib/rpc/timestamp.js';
import { removeNamespaceGroup } from '../../lib/supervisor/namespace-group.js';
import { busyboxRootfs, Fifos, NO_STREAMS, processOf, Reader, specOf } from './container.js';
import type { Subject } from './runner.js';

export interface OpenRuntime {
  readonly runtime: Runtime;
  /** Stops it as the daemon's end does: its containers go on. */
  close(): Promise<void>;
}

export interface RuntimeSubject extends Subject {
  /** Under which containers ask for it. */
  readonly runtimeName: string;
  /** A new empty directory in which the subject can keep state; disposal removes it. */
  directory(): Promise<AsyncDisposable & { readonly path: string }>;
  /** A runtime with its state below that directory; called again on the same directory it is the same one, restarted. */
  open(directory: string, events: Events): Promise<OpenRuntime>;
  /** What it can. */
  readonly can: {
    /** Output goes on while the one who reads it has left, and the process is not killed by that. */
    readonly outliveReader: boolean;
    /** A reader that comes only after the exit still gets what was written. */
    readonly keepUnreadOutput: boolean;
    /** The event of an exit that happened while nobody listened comes after a restart. */
    readonly replayExits: boolean;
    /** A task starts although nobody has its output FIFOs open. */
    readonly startWithoutReader: boolean;
    /** An exec's terminal that is resized before it starts has that size from the beginning. */
    readonly resizeBeforeStart: boolean;
    /** Tasks are checkpointed and restored, on hosts where criu works. */
    readonly checkpoint: boolean;
    /** A terminal that was left by one client serves the next. */
    readonly reattachTerminal: boolean;
  };
  /** Milliseconds anything of it may take before it counts as hung; 20 000 by default. */
  readonly patience?: number;
}

/** Namespace of all checks; another one for each process, since those who end last in a namespace remove its control group. */
export const NAMESPACE = `conformance-${process.pid}`;
export const scope = { namespace: NAMESPACE };

export const rejects = (code: ErrorCode, work: Promise<unknown>): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    return true;
  });

const PATIENCE = 20_000;
/** Of the subject whose check runs: they run one after another. */
let patienceNow = PATIENCE;

/** The result, or a failure that names what took too long. */
export async function inTime<T>(what: string, work: Promise<T>, patience = patienceNow): Promise<T> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      work,
      delay(patience, undefined, { signal: timer.signal }).then(() =>
        assert.fail(`${what}: not within ${patience} ms`),
      ),
    ]);
  } finally {
    timer.abort();
  }
}

/** Looks again and again until the condition holds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  patience = patienceNow,
): Promise<void> {
  const deadline = performance.now() + patience;
  while (!(await holds())) {
    if (performance.now() > deadline) assert.fail(`${what}: not within ${patience} ms`);
    await delay(5);
  }
}

/** For ids, which must be unique on this machine, whatever an earlier check left. */
let made = 0;

/** An event exchange that remembers. */
class RecordedEvents implements Events {
  readonly all: Envelope[] = [];

  readonly #changed = new Set<() => void>();

  publish(namespace: string, topic: string, event: Envelope['event']): void {
    this.forward({ timestamp: now(), namespace, topic, event });
  }

  forward(envelope: Envelope): void {
    this.all.push(envelope);
    for (const wake of this.#changed) wake();
  }

  /** By topic and namespace; fields of events are not looked at. */
  subscribe(filters: readonly string[], signal: AbortSignal): AsyncIterable<Envelope> {
    return this.#from(this.all.length, compileFilters(filters), signal);
  }

  async *#from(start: number, matches: Filter, signal: AbortSignal): AsyncGenerator<Envelope> {
    for (let at = start; ; at++) {
      while (at >= this.all.length && !signal.aborted) await this.#news(signal);
      const envelope = this.all[at];
      if (envelope === undefined) return;
      if (matches(([field]) => (field === 'topic' ? envelope.topic : envelope.namespace))) yield envelope;
    }
  }

  async #news(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#changed.add(resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    this.#changed.delete(resolve);
  }
}

export interface Launch {
  readonly streams?: Stdio;
  readonly changes?: readonly Change[];
}

/** A task that was created, and the usual calls on it. */
export class TaskHandle {
  readonly id: string;
  readonly pid: number;
  readonly #bench: Workbench;

  constructor(bench: Workbench, id: string, pid: number) {
    this.#bench = bench;
    this.id = id;
    this.pid = pid;
  }

  get runtime(): Runtime {
    return this.#bench.runtime;
  }

  process(execId = ''): ProcessId {
    return { id: this.id, execId };
  }

  start(execId = ''): Promise<{ readonly pid: number }> {
    return inTime(`start of ${this.id}`, this.runtime.start(scope, this.process(execId)));
  }

  async wait(execId = ''): Promise<number> {
    return (await inTime(`exit of ${this.id}/${execId}`, this.runtime.wait(scope, this.process(execId)))).exitStatus;
  }

  kill(signal: number, execId = ''): Promise<void> {
    return this.runtime.kill(scope, this.process(execId), signal);
  }

  async status(execId = ''): Promise<string> {
    return (await this.runtime.state(scope, this.process(execId))).status;
  }

  async delete(execId = ''): Promise<number> {
    return (await inTime(`delete of ${this.id}/${execId}`, this.runtime.delete(scope, this.process(execId))))
      .exitStatus;
  }

  async exec(execId: string, script: string, streams: Stdio = NO_STREAMS): Promise<void> {
    const spec = processOf(script, streams.terminal);
    await this.runtime.exec(scope, { id: this.id, execId, spec, ...streams });
  }

  /** Kills and deletes what there is of it. */
  async end(): Promise<void> {
    if ((await this.status()) !== 'stopped')
      await this.kill(9).catch((error: unknown) => {
        // It may have ended by itself meanwhile.
        if (!hasCode(error, 'NOT_FOUND')) throw error;
      });
    await this.wait();
    await this.delete();
  }
}

export class Workbench implements AsyncDisposable {
  readonly #subject: RuntimeSubject;
  readonly #directory: AsyncDisposable & { readonly path: string };
  readonly #events = new RecordedEvents();
  readonly #rootfs: Mount;
  #open: OpenRuntime;

  private constructor(
    subject: RuntimeSubject,
    directory: AsyncDisposable & { readonly path: string },
    rootfs: Mount,
    events: RecordedEvents,
    open: OpenRuntime,
  ) {
    this.#subject = subject;
    this.#directory = directory;
    this.#rootfs = rootfs;
    this.#events = events;
    this.#open = open;
  }

  static async open(subject: RuntimeSubject): Promise<Workbench> {
    patienceNow = subject.patience ?? PATIENCE;
    const directory = await subject.directory();
    const events = new RecordedEvents();
    const rootfs = await busyboxRootfs(join(directory.path, 'busybox'));
    const state = join(directory.path, 'subject');
    await mkdir(state, { mode: 0o711 });
    return new Workbench(subject, directory, rootfs, events, await subject.open(state, events));
  }

  get runtime(): Runtime {
    return this.#open.runtime;
  }

  /** Under which containers ask for the subject. */
  get runtimeName(): string {
    return this.#subject.runtimeName;
  }

  /** For whatever a check needs. */
  get work(): string {
    return this.#directory.path;
  }

  /** An id that is unique on this machine for this run. */
  freshId(): string {
    return `c${process.pid}-${made++}`;
  }

  fifos(): Promise<Fifos> {
    return Fifos.make(join(this.work, `fifos-${made++}`));
  }

  request(id: string, script: string, { streams = NO_STREAMS, changes = [] }: Launch = {}): NewTask {
    return {
      id,
      runtime: this.#subject.runtimeName,
      spec: specOf(NAMESPACE, id, script, ...changes),
      rootfs: [this.#rootfs],
      ...streams,
    };
  }

  async create(script: string, launch: Launch = {}, id = this.freshId()): Promise<TaskHandle> {
    const { pid } = await inTime(`create of ${id}`, this.runtime.create(scope, this.request(id, script, launch)));
    return new TaskHandle(this, id, pid);
  }

  async run(script: string, launch: Launch = {}): Promise<TaskHandle> {
    const task = await this.create(script, launch);
    await task.start();
    return task;
  }

  /** Runs a script to its end and deletes the task: what it printed, and its exit status. */
  async output(script: string, launch: Launch = {}): Promise<{ stdout: string; stderr: string; status: number }> {
    const fifos = await this.fifos();
    const readers = [new Reader(fifos.stdout), new Reader(fifos.stderr)];
    const task = await this.run(script, { streams: fifos.output, ...launch });
    const status = await task.wait();
    const [stdout = '', stderr = ''] = await inTime(
      'end of output',
      Promise.all(readers.map((reader) => reader.all())),
    );
    assert.equal(await task.delete(), status);
    return { stdout, stderr, status };
  }

  #eventsOf(id: string): Envelope[] {
    return this.#events.all.filter(
      ({ namespace, event }) => namespace === NAMESPACE && Buffer.from(event.value).includes(id),
    );
  }

  /** Topics of the events about one task, in order, once there are at least that many. */
  async topics(id: string, atLeast: number): Promise<string[]> {
    const about = (): string[] => this.#eventsOf(id).map(({ topic }) => topic.replace('/tasks/', ''));
    await until(`${atLeast} events of ${id}`, () => about().length >= atLeast);
    return about();
  }

  /** What its exit events tell, in order; those that have come. */
  exits(id: string): TaskExit[] {
    const exits = this.#eventsOf(id).filter(({ topic }) => topic === '/tasks/exit');
    return exits.map(({ event }) => unpackAny(TaskExit, event));
  }

  /** Stops the subject and opens it again on what it left. */
  async restart(meanwhile: () => Promise<void> = async () => {}): Promise<void> {
    await this.#open.close();
    await meanwhile();
    this.#open = await this.#subject.open(join(this.work, 'subject'), this.#events);
  }

  alive(pid: number): boolean {
    return existsSync(`/proc/${pid}`);
  }

  /** Removes what a check that failed has left; a subject that cannot do that is closed all the same. */
  async [Symbol.asyncDispose](): Promise<void> {
    await using releases = new AsyncDisposableStack();
    releases.use(this.#directory);
    // Runtimes remove the group of a container, not the one of the namespace that it is in.
    releases.defer(() => removeNamespaceGroup(NAMESPACE));
    releases.defer(() => this.#open.close());
    for (const id of this.runtime.tasks(NAMESPACE)) await new TaskHandle(this, id, 0).end();
  }
}
