import type { Logger } from 'pino';
import type { Events } from '../../kernel/contracts/events.js';
import type { AnyMessage, Scope } from '../../kernel/contracts/scope.js';
import { invalidArgument } from '../../kernel/errors.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { KeyedLock } from '../../lib/keyed-lock.js';
import type { Database, MutateOptions, Param, Writer } from '../../lib/sqlite/database.js';
import { integer, type Row } from '../../lib/sqlite/row.js';
import type { Clock, Expiries } from './expiry.js';
import type { Node } from './node.js';
import { Pins } from './pins.js';

/** What the collector is told, to decide when to run. */
export interface CollectionTrigger {
  mutated(): void;
  /** Something was removed: there may be garbage. */
  removed(): void;
  /** Something expires in so many milliseconds. */
  expiresIn(milliseconds: number): void;
  /** Runs a whole collection that starts after this call. */
  collect(): Promise<unknown>;
}

/** Rows read in one go, between which others get their turn. */
const PAGE = 200;

/** Characters of a name, key or ref. */
const MAX_NAME = 8192;

/** Numbers taken from the database at once; a crash wastes what is left of them. */
const SEQUENCE_BLOCK = 1000n;

export interface CoreParts {
  readonly database: Database;
  readonly events: Events;
  readonly log: Logger;
  readonly clock: Clock;
  readonly expiries: Expiries;
}

/** What all namespaced services share: the database, the pins, the events and the trigger of the collector. */
export class Core {
  readonly database: Database;
  readonly log: Logger;
  readonly clock: Clock;
  readonly expiries: Expiries;
  readonly pins = new Pins();
  /** Held while a blob, or a backend's snapshot, becomes recorded or is deleted for good. */
  readonly backendLock = new KeyedLock();
  /** Backend keys of snapshots being made, which are recorded nowhere yet. */
  readonly snapshotsInTheMaking = new Set<string>();
  /** Blobs that were committed but could not be recorded. */
  readonly unrecordedContent = new Set<string>();
  /** Snapshotters of which a change could not be recorded. */
  readonly unrecordedSnapshots = new Set<string>();
  readonly #events: Events;
  #trigger: CollectionTrigger | undefined;
  #sequence = 0n;
  #sequenceEnd = 0n;
  #claim: Promise<void> | undefined;

  constructor({ database, events, log, clock, expiries }: CoreParts) {
    this.database = database;
    this.log = log;
    this.clock = clock;
    this.expiries = expiries;
    this.#events = events;
  }

  set trigger(trigger: CollectionTrigger) {
    this.#trigger = trigger;
  }

  async mutate<T>(work: (sql: Writer) => T, options?: MutateOptions): Promise<T> {
    const result = await this.database.mutate(work, options);
    this.#trigger?.mutated();
    return result;
  }

  /** A mutation that removes something: works on a full disk, and makes the collector look. */
  async remove<T>(work: (sql: Writer) => T, options?: Pick<MutateOptions, 'durable'>): Promise<T> {
    const result = await this.mutate(work, { ...options, frees: true });
    this.#trigger?.removed();
    return result;
  }

  /** There is garbage that no mutation tells of. */
  noticeGarbage(): void {
    this.#trigger?.removed();
  }

  /** A whole collection. */
  async collect(): Promise<void> {
    await this.#trigger?.collect();
  }

  /** Reports that a node was created or changed, see {@link Pins}. */
  touch(node: Node): void {
    this.pins.touch(node);
  }

  expiresIn(milliseconds: number): void {
    this.#trigger?.expiresIn(milliseconds);
  }

  publish(namespace: string, topic: string, event: AnyMessage): void {
    this.#events.publish(namespace, topic, event);
  }

  /** A number that no backend name has had. */
  async sequence(): Promise<bigint> {
    while (this.#sequence === this.#sequenceEnd) {
      this.#claim ??= this.#claimSequence().finally(() => {
        this.#claim = undefined;
      });
      await this.#claim;
    }
    const sequence = this.#sequence;
    this.#sequence += 1n;
    return sequence;
  }

  /**
   * Rows page by page; other work runs between pages. `sql` selects rows whose column
   * `cursor` is above its last parameter but one, in that order, up to the last parameter.
   */
  async *pages(sql: string, cursor: string, ...params: readonly Param[]): AsyncGenerator<readonly Row[]> {
    let after = '';
    for (;;) {
      const rows = this.database.all(sql, ...params, after, PAGE);
      yield rows;
      const last = rows.at(-1)?.[cursor];
      if (rows.length < PAGE || typeof last !== 'string') return;
      after = last;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #claimSequence(): Promise<void> {
    const claim = (sql: Writer): bigint => {
      const next = integer(sql.get('SELECT next FROM sequence') ?? {}, 'next');
      sql.run('UPDATE sequence SET next = ?', next + SEQUENCE_BLOCK);
      return next;
    };
    // Durable: a number lost in a power cut could name a backend's snapshot twice.
    this.#sequence = await this.database.mutate(claim);
    this.#sequenceEnd = this.#sequence + SEQUENCE_BLOCK;
  }
}

/** The namespace of a call. INVALID_ARGUMENT when it is malformed. */
export const namespaceOf = (scope: Scope): string => checkIdentifier(scope.namespace, 'namespace');

/** A namespace appears with the first thing in it. */
export function touchNamespace(sql: Writer, namespace: string): void {
  sql.run("INSERT OR IGNORE INTO namespaces VALUES (?, '{}')", namespace);
}

/** INVALID_ARGUMENT for a name that is empty or unreasonably long. `what`: `image name`. */
export function checkName(name: string, what: string): string {
  if (name === '') throw invalidArgument(`${what} must not be empty`);
  if (name.length > MAX_NAME) throw invalidArgument(`${what} is ${name.length} characters long, more than ${MAX_NAME}`);
  return name;
}
