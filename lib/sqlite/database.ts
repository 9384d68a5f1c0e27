/**
 * A database with group commit and without waiting for the disk on the event
 * loop. All mutations asked for in one turn become one transaction. SQLite
 * appends it to its write-ahead log (`synchronous = NORMAL`), and the log is
 * flushed here, on another thread, before any caller is told: together exactly
 * what `synchronous = FULL` does, which is to flush the log after each commit.
 * While one flush runs, further transactions gather for the next.
 */
import { closeSync, fdatasync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { dataLoss, failedPrecondition, resourceExhausted } from '../../kernel/errors.js';
import { fileError } from '../errno.js';
import { failpoint } from '../failpoint.js';
import { syncDirectory } from '../sync-directory.js';
import { Connection, type Param, type Schema } from './connection.js';
import { isFull, sqliteError } from './errors.js';
import type { Row } from './row.js';

export type { Param, Schema } from './connection.js';

export interface Reader {
  get(sql: string, ...params: readonly Param[]): Row | undefined;
  all(sql: string, ...params: readonly Param[]): readonly Row[];
}

export interface Writer extends Reader {
  /** The number of rows changed. */
  run(sql: string, ...params: readonly Param[]): number;
}

export interface MutateOptions {
  /** Resolve when it survives a power cut (the default), or already when it survives the process; `soon`: and that a second later. */
  readonly durable?: boolean | 'soon';
  /** It gives space back: it may use the reserve on a full disk. */
  readonly frees?: boolean;
}

/** Disk space set aside, so that things can be removed when there is none. */
export interface SpaceReserve {
  /** Gives it up; false when it was gone already. */
  release(): boolean;
  /** Whether it is there; sets it aside again when that is possible now. */
  ready(): boolean;
}

interface Job {
  readonly work: (writer: Writer) => unknown;
  readonly durable: boolean | 'soon';
  readonly frees: boolean;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Descriptors for flushing, open as long as the connection: plain ones, since nobody else may close them. */
interface Files {
  readonly data: number;
  readonly log: number;
}

/** fdatasync(2), on another thread. */
const flush = promisify(fdatasync);

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Rows changed after which the log is copied into the database when nothing happens for a second. */
const IDLE_CHECKPOINT = 100;
const IDLE_MILLIS = 1000;

/** Milliseconds after which what need not survive at once does. */
const SOON_MILLIS = 1000;

/** Milliseconds that writers may have to wait for a checkpoint: it is made as often as that takes. */
const CHECKPOINT_MILLIS = 8;
/** Rows changed between two checkpoints, at least and at most. */
const OFTEN = 1000;
const SELDOM = 8000;

export class Database implements Reader {
  readonly #connection: Connection;
  readonly #writer: Writer;
  readonly #files: Files;
  readonly #reserve: SpaceReserve | undefined;
  /** The names of both files are on disk: before that nothing that is in them can be promised. */
  readonly #named: Promise<void>;
  #queue: Job[] = [];
  #unflushed: Waiting[] = [];
  #flushing: Promise<void> | undefined;
  /** Rows changed since the last checkpoint, and after how many the next one is due. */
  #changed = 0;
  #checkpointAfter = SELDOM / 4;
  #checkpointing: Promise<void> | undefined;
  #idle: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #failure: unknown;
  #closed = false;

  private constructor(connection: Connection, files: Files, reserve: SpaceReserve | undefined) {
    this.#connection = connection;
    this.#files = files;
    this.#reserve = reserve;
    this.#named = syncDirectory(dirname(connection.file));
    this.#named.catch(() => {}); // whoever waits for a flush is told
    this.#writer = {
      get: (sql, ...params) => connection.get(sql, params),
      all: (sql, ...params) => connection.all(sql, params),
      run: (sql, ...params) => {
        const changed = connection.run(sql, params);
        this.#changed += changed;
        return changed;
      },
    };
  }

  /** As {@link Connection.open}. */
  static async open(file: string, schema: Schema, reserve?: SpaceReserve): Promise<Database> {
    const connection = Connection.open(file, schema);
    const opened: number[] = [];
    const open = (path: string): number => {
      const descriptor = openSync(path, 'r');
      opened.push(descriptor);
      return descriptor;
    };
    try {
      return new Database(connection, { data: open(file), log: open(`${file}-wal`) }, reserve);
    } catch (error) {
      connection.close();
      // Not before: closing any descriptor of the file ends the connection's locks on it (fcntl(2)).
      for (const descriptor of opened) closeSync(descriptor);
      throw fileError(error, `open "${file}"`);
    }
  }

  /** The connection, for what needs it whole (backup). */
  get connection(): Connection {
    return this.#connection;
  }

  get(sql: string, ...params: readonly Param[]): Row | undefined {
    return this.#reading(() => this.#connection.get(sql, params));
  }

  all(sql: string, ...params: readonly Param[]): readonly Row[] {
    return this.#reading(() => this.#connection.all(sql, params));
  }

  /**
   * Runs `work`, which must be synchronous and repeatable, in the transaction of this turn.
   * When it throws, it alone is undone and rejected. RESOURCE_EXHAUSTED on a full disk;
   * DATA_LOSS once the disk has failed, from then on always.
   */
  mutate<T>(work: (writer: Writer) => T, { durable = true, frees = false }: MutateOptions = {}): Promise<T> {
    if (this.#closed || this.#failure !== undefined) return Promise.reject(this.#failure ?? this.#isClosed());
    return new Promise<T>((resolve, reject) => {
      let result: { readonly value: T } | undefined;
      const job: Job = {
        work: (writer) => {
          result = { value: work(writer) };
        },
        durable,
        frees,
        resolve: () => {
          if (result) resolve(result.value);
        },
        reject,
      };
      if (this.#queue.push(job) === 1 && !this.#checkpointing) setImmediate(() => this.#commitQueue());
    });
  }

  /** Resolves when everything committed until now survives a power cut. */
  flushed(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#unflushed.push({ resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  /** Commits what was asked for, refuses everything after. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#checkpointing;
    this.#commitQueue();
    await this.#flushing;
    await this.#checkpointing;
    await Promise.allSettled([this.#named]);
    clearTimeout(this.#idle);
    clearTimeout(this.#soon);
    this.#failure ??= this.#isClosed();
    this.#connection.close();
    closeSync(this.#files.log);
    closeSync(this.#files.data);
  }

  #isClosed(): Error {
    return failedPrecondition(`"${this.#connection.file}" is closed`);
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw sqliteError(error, `read "${this.#connection.file}"`);
    }
  }

  #commitQueue(): void {
    // A checkpoint commits what came meanwhile when it is done.
    if (this.#checkpointing) return;
    const jobs = this.#queue;
    this.#queue = [];
    if (this.#failure !== undefined) {
      for (const { reject } of jobs) reject(this.#failure);
      return;
    }
    const ready = jobs.filter((job) => this.#admits(job));
    if (ready.length === 0) return;
    try {
      this.#transact(ready);
    } catch (error) {
      // One of them may have spoilt it for the others.
      if (ready.length > 1) for (const job of ready) this.#commitAlone(job);
      else for (const job of ready) this.#commitFreeing(job, error);
    }
    this.#planCheckpoint();
  }

  /** While the reserve is used up, only what frees space may write. */
  #admits({ frees, reject }: Job): boolean {
    if (frees || !this.#reserve || this.#reserve.ready()) return true;
    reject(resourceExhausted('the disk is full', { remedy: 'free disk space (removing images works on a full disk)' }));
    return false;
  }

  #commitAlone(job: Job): void {
    try {
      this.#transact([job]);
    } catch (error) {
      this.#commitFreeing(job, error);
    }
  }

  #commitFreeing(job: Job, error: unknown): void {
    if (!isFull(error) || !job.frees || !this.#reserve?.release()) {
      job.reject(this.#commitError(error));
      return;
    }
    try {
      this.#transact([job]);
      // The log must not grow on a full disk.
      this.#checkpointAfter = 0;
    } catch (second) {
      job.reject(this.#commitError(second));
    }
  }

  #commitError(error: unknown): unknown {
    return sqliteError(error, `write "${this.#connection.file}"`);
  }

  /** One transaction of those jobs; throws with nothing changed when the transaction as a whole failed. */
  #transact(jobs: readonly Job[]): void {
    this.#connection.exec('BEGIN IMMEDIATE');
    let settlements: readonly (() => void)[];
    try {
      settlements = jobs.map((job) => this.#attempt(job));
      failpoint('db.commit');
      this.#connection.exec('COMMIT');
    } catch (error) {
      if (this.#connection.inTransaction) this.#connection.exec('ROLLBACK');
      throw error;
    }
    for (const settle of settlements) settle();
  }

  /** Runs a job; returns how to settle it after the commit. Throws when the transaction is lost. */
  #attempt(job: Job): () => void {
    this.#connection.exec('SAVEPOINT job');
    try {
      job.work(this.#writer);
    } catch (error) {
      if (isFull(error) || !this.#connection.inTransaction) throw error;
      this.#connection.exec('ROLLBACK TO job; RELEASE job');
      return () => job.reject(this.#commitError(error));
    }
    this.#connection.exec('RELEASE job');
    return () => {
      if (job.durable === true) this.flushed().then(job.resolve, job.reject);
      else job.resolve(undefined);
      if (job.durable === 'soon') this.#flushSoon();
    };
  }

  #flushSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.flushed().catch(() => {}); // whoever writes next is told
    }, SOON_MILLIS).unref();
  }

  async #flush(): Promise<void> {
    while (this.#unflushed.length > 0) {
      const waiting = this.#unflushed;
      this.#unflushed = [];
      try {
        failpoint('db.flush');
        await this.#named;
        await flush(this.#files.log);
        for (const { resolve } of waiting) resolve();
      } catch (error) {
        this.#fail(error);
        for (const { reject } of waiting) reject(this.#failure);
      }
    }
    this.#flushing = undefined;
  }

  /** What a failed flush left on disk is unknown, and flushing again would hide it. */
  #fail(cause: unknown): void {
    this.#failure ??= dataLoss(`flush "${this.#connection.file}": the disk failed, nothing more is written`, {
      remedy: 'see the kernel log, then restart the daemon',
      cause,
    });
  }

  #planCheckpoint(): void {
    clearTimeout(this.#idle);
    if (this.#changed >= this.#checkpointAfter) this.#checkpointing ??= this.#checkpoint();
    if (this.#checkpointing || this.#changed < IDLE_CHECKPOINT) return;
    this.#idle = setTimeout(() => {
      this.#checkpointing ??= this.#checkpoint();
    }, IDLE_MILLIS);
    this.#idle.unref();
  }

  /**
   * Copies the log into the database file, so that the log starts over. SQLite would flush both
   * files on the event loop; so it is told not to (`synchronous = OFF`), and they are flushed
   * here on another thread: the log before, the database after. Until then writers wait, since
   * the first of them overwrites the log, and readers do not.
   */
  async #checkpoint(): Promise<void> {
    const began = performance.now();
    const changed = this.#changed;
    this.#changed = 0;
    try {
      await this.#named;
      await flush(this.#files.log);
      this.#copyLog();
      await flush(this.#files.data);
    } catch (error) {
      this.#fail(error);
    }
    const fits = (changed * CHECKPOINT_MILLIS) / (performance.now() - began);
    this.#checkpointAfter = Math.min(Math.max(fits, OFTEN), SELDOM);
    this.#checkpointing = undefined;
    if (this.#queue.length > 0) this.#commitQueue();
  }

  #copyLog(): void {
    try {
      this.#connection.exec('PRAGMA synchronous = OFF');
      this.#connection.get('PRAGMA wal_checkpoint(PASSIVE)', []);
    } catch (error) {
      // Without space for it the log just grows on.
      if (!isFull(error)) throw error;
    } finally {
      this.#connection.exec('PRAGMA synchronous = NORMAL');
    }
  }
}
