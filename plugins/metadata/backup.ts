import { open, rename } from 'node:fs/promises';
import { backup } from 'node:sqlite';
import type { Logger } from 'pino';
import type { Database } from '../../lib/sqlite/database.js';
import { integer } from '../../lib/sqlite/row.js';

/** Milliseconds. */
const FIRST = 60_000;
const EVERY = 600_000;

/** Keeps a copy of the database beside it, for the day when it cannot be read. */
export class Backup {
  readonly #database: Database;
  readonly #file: string;
  readonly #log: Logger;
  #timer: NodeJS.Timeout;
  /** Changes made by this process when it was copied last; what earlier ones made is copied once. */
  #copied = -1n;
  #running: Promise<void> | undefined;

  constructor(database: Database, file: string, log: Logger) {
    this.#database = database;
    this.#file = file;
    this.#log = log;
    this.#timer = this.#plan(FIRST);
  }

  /** Copies now, if anything changed since the last time. */
  async run(): Promise<void> {
    const changes = integer(this.#database.get('SELECT total_changes() AS n') ?? {}, 'n');
    if (changes === this.#copied) return;
    const draft = `${this.#file}.new`;
    await backup(this.#database.connection.database, draft);
    const copy = await open(draft, 'r');
    await copy.sync().finally(() => copy.close());
    await rename(draft, this.#file);
    this.#copied = changes;
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#running;
  }

  #plan(delay: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#running = this.run()
        .catch((error: unknown) => this.#log.warn({ err: error }, 'could not copy the database'))
        .finally(() => {
          this.#running = undefined;
          this.#timer = this.#plan(EVERY);
        });
    }, delay).unref();
  }
}
