import { closeSync } from 'node:fs';
import { join } from 'node:path';
import type { ProcessRecord } from '../../../api/gen/runtime/supervisor.js';
import { Status } from '../../../api/gen/types/task.js';
import { failedPrecondition, notFound } from '../../../kernel/errors.js';
import { failpoint } from '../../../lib/failpoint.js';
import type { ProcessHandle } from '../../../lib/linux/pidfd.js';
import { openPin, pin, unpin } from '../../../lib/linux/pin.js';
import { readStat } from '../../../lib/linux/proc.js';
import { now, toTimestamp } from '../../../lib/rpc/timestamp.js';
import { removeRecord, writeRecord } from '../records.js';
import type { Reaper } from './reaper.js';
import type { Streams } from './streams.js';

/** Exit status of a process of which nobody can tell any more. */
export const UNKNOWN_EXIT = 255;

/** Where a process of that bundle is pinned while it lives, so that its exit status outlives whoever watches it. */
export const pinOf = (bundle: string, execId: string): string =>
  join(bundle, execId === '' ? 'init.pidfd' : `exec-${execId}.pidfd`);

export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * One process of a task. Its exit is on disk before anybody hears of it, and
 * heard of only after its start was told.
 */
export class Process {
  readonly record: ProcessRecord;
  readonly #bundle: string;
  readonly #reaper: Reaper;
  readonly #onExit: (process: Process) => void;
  readonly #ended = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();
  readonly #told = Promise.withResolvers<void>();
  #handle: ProcessHandle | undefined;
  #streams: Streams | undefined;
  #size: Size | undefined;
  #starting: Promise<void> = Promise.resolve();

  constructor(bundle: string, record: ProcessRecord, reaper: Reaper, onExit: (process: Process) => void) {
    this.#bundle = bundle;
    this.record = record;
    this.#reaper = reaper;
    this.#onExit = onExit;
  }

  /** For messages. */
  get name(): string {
    return this.record.execId === ''
      ? `task "${this.record.id}"`
      : `exec "${this.record.execId}" of "${this.record.id}"`;
  }

  /** What its terminal was resized to last. */
  get size(): Size | undefined {
    return this.#size;
  }

  get stopped(): boolean {
    return this.record.exit !== undefined;
  }

  /** Resolves as soon as it has ended, also while its start is under way. */
  get over(): Promise<void> {
    return this.#ended.promise;
  }

  /** Resolves once its exit is recorded, and its start is done. */
  get exited(): Promise<void> {
    return this.#exited.promise;
  }

  /** Resolves once its exit event is published. */
  get told(): Promise<void> {
    return this.#told.promise;
  }

  save(): void {
    writeRecord(this.#bundle, this.record);
  }

  forget(): void {
    this.closeStreams();
    this.unpin();
    removeRecord(this.#bundle, this.record);
  }

  /** It has been made: from now on its end is noticed. NOT_FOUND when it has ended and is no child of ours. */
  made(pid: number, streams: Streams): void {
    this.#handle = this.#reaper.watch(pid);
    this.record.pid = pid;
    this.record.startTime = readStat(pid)?.startTime ?? '';
    pin(this.#handle, this.#pin);
    this.setStreams(streams);
    this.save();
    this.#watch(this.#handle);
  }

  /** Goes on watching a process that another supervisor made. */
  resume(handle: ProcessHandle, streams: Streams | undefined): void {
    this.#handle = handle;
    this.#pinAgain(handle);
    if (streams) this.setStreams(streams);
    this.save();
    this.#watch(handle);
  }

  get #pin(): string {
    return pinOf(this.#bundle, this.record.execId);
  }

  /** Whoever watched it before may have ended before it was pinned. */
  #pinAgain(handle: ProcessHandle): void {
    const pinned = openPin(this.#pin);
    if (pinned === undefined) pin(handle, this.#pin);
    else closeSync(pinned);
  }

  /** Its exit status is on record: nobody else needs to keep it. */
  unpin(): void {
    unpin(this.#pin);
  }

  setStreams(streams: Streams): void {
    this.#streams = streams;
    this.record.terminalFd = streams.terminalFd;
    if (this.#size) streams.resize(this.#size);
    if (this.record.inputClosed) streams.closeInput();
  }

  #watch(handle: ProcessHandle): void {
    handle.onExit(() => {
      failpoint('exit.reap');
      const exitStatus = handle.exitStatus()?.exitStatus ?? UNKNOWN_EXIT;
      this.#handle = undefined;
      this.#reaper.release(handle);
      this.ended(exitStatus);
    });
  }

  /** It has exited with that status, just now. */
  ended(exitStatus: number): void {
    this.record.exit = { status: exitStatus, at: toTimestamp(now()), delivered: false };
    this.record.status = Status.STOPPED;
    failpoint('exit.persist');
    this.save();
    this.unpin();
    failpoint('exit.publish');
    this.#streams?.finish();
    this.#ended.resolve();
    void this.#starting.then(() => this.settle());
  }

  /** It could not be started: it can be deleted, and no exit is told. */
  neverRan(): void {
    if (this.stopped) return;
    this.record.exit = { status: UNKNOWN_EXIT, at: toTimestamp(now()), delivered: true };
    this.record.status = Status.STOPPED;
    this.save();
    this.closeStreams();
    this.markSettled();
  }

  /** Its exit is on record, and was told by another supervisor. */
  markSettled(): void {
    this.#exited.resolve();
    this.#told.resolve();
  }

  /** Its exit is on record: tells it. */
  settle(): void {
    this.#exited.resolve();
    this.#onExit(this);
  }

  /** Its exit event is published. */
  markTold(): void {
    this.#told.resolve();
  }

  /** Does the work that starts it; its exit is not told before that is done. */
  async start(work: () => Promise<void>): Promise<void> {
    const started = Promise.withResolvers<void>();
    this.#starting = started.promise;
    try {
      await work();
      if (!this.stopped) this.record.status = Status.RUNNING;
      this.save();
    } finally {
      // One more turn: whoever called publishes the start first.
      setImmediate(started.resolve);
    }
  }

  /** NOT_FOUND once it has exited; FAILED_PRECONDITION before it was started. */
  signal(number: number): void {
    if (this.stopped || this.#handle === undefined) {
      if (!this.stopped && this.record.pid === 0) throw failedPrecondition(`${this.name} has not been started`);
      throw notFound(`process already finished: ${this.name}`);
    }
    this.#handle.signal(number);
  }

  /** Remembered when it comes before the terminal does. FAILED_PRECONDITION without a terminal. */
  resize(size: Size): void {
    if (!this.record.stdio?.terminal) throw failedPrecondition(`${this.name} has no terminal`);
    this.#size = size;
    this.#streams?.resize(size);
  }

  closeInput(): void {
    if (this.record.inputClosed) return;
    this.record.inputClosed = true;
    if (!this.stopped) this.save();
    this.#streams?.closeInput();
  }

  closeStreams(): void {
    this.#streams?.close();
    this.#streams = undefined;
  }
}
