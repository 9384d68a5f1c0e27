/**
 * Work that several callers want at once is done once: a *flight*. The first
 * caller launches it, others join, each may leave. It is cancelled when the
 * last has left, so that whoever began it can give up without harm to the rest.
 */
import { canceled } from '../../kernel/errors.js';

export interface Passenger<T, E> {
  readonly signal: AbortSignal;
  /** Secures the result for this passenger, before anybody else may let go of it. */
  readonly hold: (result: T) => Promise<void>;
  readonly observe?: (event: E) => void;
  /** Told when this passenger launches a flight: what it lent to it must last until the promise settles. */
  readonly launched?: (settled: Promise<unknown>) => void;
}

export interface Flight<E> {
  /** Aborted when nobody wants the result any more. */
  readonly signal: AbortSignal;
  /** Tells every passenger. */
  report(event: E): void;
}

class Running<T, E> implements Flight<E> {
  readonly #controller = new AbortController();
  readonly passengers = new Set<Passenger<T, E>>();
  readonly settled: Promise<T>;

  constructor(work: (flight: Flight<E>) => Promise<T>, landing: () => void) {
    this.settled = this.#run(work, landing);
    // Every passenger may have left before it fails.
    this.settled.catch(() => {});
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  report(event: E): void {
    for (const { observe } of this.passengers) observe?.(event);
  }

  async #run(work: (flight: Flight<E>) => Promise<T>, landing: () => void): Promise<T> {
    try {
      const result = await work(this);
      landing();
      await Promise.all([...this.passengers].map(({ hold }) => hold(result)));
      return result;
    } finally {
      landing();
    }
  }

  /** Rejects with CANCELED when the passenger's signal aborts; the last to leave waits until the flight has ended. */
  async ride(passenger: Passenger<T, E>): Promise<T> {
    const { signal } = passenger;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(canceled('the transfer was cancelled', { cause: signal.reason }));
    this.passengers.add(passenger);
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    try {
      return await Promise.race([this.settled, left.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      this.passengers.delete(passenger);
      if (this.passengers.size === 0) await this.#end();
    }
  }

  async #end(): Promise<void> {
    this.#controller.abort();
    await Promise.allSettled([this.settled]);
  }
}

export class Flights<T, E = never> {
  readonly #running = new Map<string, Running<T, E>>();

  /**
   * The result of the work of that key: somebody's who is at it, else of
   * `work`. When somebody else's fails, this caller tries its own.
   */
  async join(key: string, passenger: Passenger<T, E>, work: (flight: Flight<E>) => Promise<T>): Promise<T> {
    for (;;) {
      const joined = this.#running.get(key);
      if (!joined) return this.#launch(key, passenger, work).ride(passenger);
      try {
        return await joined.ride(passenger);
      } catch (error) {
        if (passenger.signal.aborted) throw error;
      }
    }
  }

  #launch(key: string, passenger: Passenger<T, E>, work: (flight: Flight<E>) => Promise<T>): Running<T, E> {
    // Called for the first time no earlier than the constructor's end: the work begins in a later turn.
    const deferred = async (flight: Flight<E>): Promise<T> => {
      await Promise.resolve();
      return work(flight);
    };
    const flight: Running<T, E> = new Running(deferred, () => {
      if (this.#running.get(key) === flight) this.#running.delete(key);
    });
    this.#running.set(key, flight);
    passenger.launched?.(flight.settled);
    return flight;
  }
}
