import type { Logger } from 'pino';
import type { CollectionStats, GarbageCollector } from '../../../kernel/contracts/leases.js';
import { unavailable } from '../../../kernel/errors.js';
import type { CollectionTrigger } from '../core.js';
import type { CollectionResult } from './collector.js';

/** When collections run; the names and meanings are those of containerd's scheduler. Times in milliseconds. */
export interface Pacing {
  /** Share of real time that collections may take; at most 0.5. */
  readonly pauseThreshold: number;
  /** Removals after which one is due at once; 0: none is enough by itself. */
  readonly deletionThreshold: number;
  /** Mutations after which one is due; 0: they do not count. */
  readonly mutationThreshold: number;
  readonly scheduleDelay: number;
  readonly startupDelay: number;
}

/** A collection counts as taking at least this long. */
const SHORTEST = 5;
const MAX_PAUSE_THRESHOLD = 0.5;

/** What setTimeout can wait, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * A removal alone is followed by a collection this much later, so that an idle
 * daemon gives its disk back. Not sooner: content that a client has just
 * written and not yet referred to would go with what was removed.
 */
const AFTER_REMOVAL = 60_000;

/** Things that expire in a row are taken together, so often at most. */
const EXPIRY_STEP = 100;

/** Added to the pause after a collection that failed. */
const AFTER_FAILURE = 1000;

export interface CollectionRunner {
  run(): Promise<CollectionResult>;
}

/** Decides when collections run, one at a time: when asked, after removals and many mutations, and when things expire. */
export class Scheduler implements GarbageCollector, CollectionTrigger {
  readonly #runner: CollectionRunner;
  readonly #pacing: Pacing;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  /** Monotonic milliseconds at which the timer fires. */
  #due = Number.POSITIVE_INFINITY;
  #expiryTimer: NodeJS.Timeout | undefined;
  #expiryDue = Number.POSITIVE_INFINITY;
  #waiting: PromiseWithResolvers<CollectionStats> | undefined;
  #running: Promise<void> | undefined;
  #earliest = 0;
  #mutations = 0;
  #removals = 0;
  #busy = 0;
  #collections = 0;
  #stopped = false;

  constructor(runner: CollectionRunner, pacing: Pacing, log: Logger) {
    this.#runner = runner;
    this.#pacing = pacing;
    this.#log = log;
    this.#earliest = performance.now() + pacing.startupDelay;
    this.#schedule(pacing.startupDelay);
  }

  mutated(): void {
    this.#mutations += 1;
    const { mutationThreshold, scheduleDelay } = this.#pacing;
    if (mutationThreshold > 0 && this.#mutations >= mutationThreshold) this.#schedulePaced(scheduleDelay);
  }

  removed(): void {
    this.#removals += 1;
    const { deletionThreshold, scheduleDelay } = this.#pacing;
    if (deletionThreshold > 0 && this.#removals >= deletionThreshold) this.#schedule(scheduleDelay);
    else this.#schedulePaced(Math.max(scheduleDelay, AFTER_REMOVAL));
  }

  expiresIn(milliseconds: number): void {
    const due = performance.now() + milliseconds;
    if (this.#stopped || due >= this.#expiryDue) return;
    this.#expiryDue = due;
    clearTimeout(this.#expiryTimer);
    const wait = Math.min(Math.max(milliseconds, EXPIRY_STEP), LONGEST_TIMER);
    this.#expiryTimer = setTimeout(() => {
      this.#expiryDue = Number.POSITIVE_INFINITY;
      this.#schedule(0);
    }, wait);
    this.#expiryTimer.unref();
  }

  collect(): Promise<CollectionStats> {
    this.#waiting ??= Promise.withResolvers();
    const { promise } = this.#waiting;
    if (this.#stopped) this.#refuseWaiting();
    else this.#schedule(this.#pacing.scheduleDelay);
    // Somebody waits: the process must not end before.
    this.#timer?.ref();
    return promise;
  }

  /** Waits for the collection under way and begins no other: who waits for one is told, UNAVAILABLE. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#expiryTimer);
    this.#refuseWaiting();
    await this.#running;
  }

  #refuseWaiting(): void {
    this.#waiting?.reject(unavailable('no garbage is collected any more: the daemon stops'));
    this.#waiting = undefined;
  }

  /** Not before the pause after the last one is over. */
  #schedulePaced(delay: number): void {
    this.#schedule(Math.max(delay, this.#earliest - performance.now()));
  }

  #schedule(delay: number): void {
    const due = performance.now() + delay;
    if (this.#stopped || due >= this.#due) return;
    this.#due = due;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fire(), Math.min(delay, LONGEST_TIMER));
    if (!this.#waiting) this.#timer.unref();
  }

  #fire(): void {
    this.#due = Number.POSITIVE_INFINITY;
    // What is asked for now must start after now: it follows the one that runs.
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#waiting) this.#schedule(0);
      else if (this.#removals > 0) this.#schedulePaced(AFTER_REMOVAL);
    });
  }

  async #run(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#mutations = 0;
    this.#removals = 0;
    try {
      const result = await this.#runner.run();
      this.#pause(result.busy, 0);
      this.expiresIn(result.nextExpiry);
      this.#log.debug({ ...result }, 'collected garbage');
      waiting?.resolve(result);
    } catch (error) {
      this.#pause(0, AFTER_FAILURE);
      this.#log.error({ err: error }, 'garbage collection failed');
      waiting?.reject(error);
    }
  }

  #pause(busy: number, extra: number): void {
    this.#busy += busy;
    this.#collections += 1;
    const threshold = Math.min(this.#pacing.pauseThreshold, MAX_PAUSE_THRESHOLD);
    const average = Math.max(this.#busy / this.#collections, SHORTEST);
    const pause = threshold > 0 ? average / threshold - average : 1000;
    this.#earliest = performance.now() + pause + extra;
  }
}
