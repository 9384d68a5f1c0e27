/**
 * Group commit: all changes asked for in one turn of the event loop become one
 * durable transaction, so concurrent callers share the cost of its sync.
 */
import type { DatabaseSync } from 'node:sqlite';
import { dataLoss, type ErrorCode, failedPrecondition, internal, KeelsonError } from '../../kernel/errors.js';
import { failpoint } from '../failpoint.js';

interface Pending {
  /** Runs inside the transaction; returns how to settle its promise once that is durable. */
  readonly run: () => () => void;
  readonly reject: (error: unknown) => void;
}

/** SQLite's primary result codes (https://www.sqlite.org/rescode.html) that mean more than a bug. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  5: 'UNAVAILABLE', // SQLITE_BUSY
  8: 'FAILED_PRECONDITION', // SQLITE_READONLY
  10: 'DATA_LOSS', // SQLITE_IOERR
  11: 'DATA_LOSS', // SQLITE_CORRUPT
  13: 'RESOURCE_EXHAUSTED', // SQLITE_FULL
  14: 'FAILED_PRECONDITION', // SQLITE_CANTOPEN
  26: 'DATA_LOSS', // SQLITE_NOTADB
};

/** An error of SQLite in the taxonomy; errors that are of the taxonomy already pass. */
export function sqliteError(error: unknown, doing: string): KeelsonError {
  if (error instanceof KeelsonError) return error;
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') {
    return internal(doing, { cause: error });
  }
  // The low byte of an extended result code is the primary one.
  return new KeelsonError(CODES[error.errcode & 0xff] ?? 'INTERNAL', `${doing}: ${error.message}`, { cause: error });
}

export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #name: string;
  #queue: Pending[] = [];
  #scheduled: NodeJS.Immediate | undefined;
  #closed = false;

  /** `name` stands for the database in errors. */
  constructor(database: DatabaseSync, name: string) {
    this.#database = database;
    this.#name = name;
  }

  /**
   * Runs `change`, which is synchronous, in the transaction of this turn. Resolves to its
   * result when that is on disk. When `change` throws, it alone is undone and rejected; when
   * the transaction fails, everything in it is undone and rejected.
   */
  run<T>(change: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(failedPrecondition(`${this.#name} is closed`));
    return new Promise<T>((resolve, reject) => {
      const run = (): (() => void) => {
        const result = change();
        return () => resolve(result);
      };
      this.#queue.push({ run, reject });
      this.#scheduled ??= setImmediate(() => this.#flush());
    });
  }

  /** Makes durable what was asked for and refuses everything after. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearImmediate(this.#scheduled);
    this.#flush();
  }

  #flush(): void {
    this.#scheduled = undefined;
    const batch = this.#queue;
    this.#queue = [];
    if (batch.length === 0) return;
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      const settlements = batch.map((pending) => this.#attempt(pending));
      failpoint('snap.tx');
      this.#database.exec('COMMIT');
      failpoint('snap.meta');
      for (const settle of settlements) settle();
    } catch (error) {
      const failure = this.#rollback(error);
      for (const { reject } of batch) reject(failure);
    }
  }

  /** Only a refusal is undone by itself: a failure of the database spoils the whole transaction. */
  #attempt({ run, reject }: Pending): () => void {
    this.#database.exec('SAVEPOINT change');
    try {
      const settle = run();
      this.#database.exec('RELEASE change');
      return settle;
    } catch (error) {
      if (!(error instanceof KeelsonError)) throw error;
      this.#database.exec('ROLLBACK TO change; RELEASE change');
      return () => reject(error);
    }
  }

  #rollback(error: unknown): KeelsonError {
    const failure = sqliteError(error, `commit to ${this.#name}`);
    if (!this.#database.isTransaction) return failure;
    try {
      this.#database.exec('ROLLBACK');
      return failure;
    } catch (second) {
      return dataLoss(`commit to ${this.#name} failed and could not be rolled back`, {
        remedy: 'restart the daemon',
        cause: new AggregateError([error, second]),
      });
    }
  }
}
