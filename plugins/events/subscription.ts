/** One subscriber's view of the exchange: a bounded queue, read as an async iterator. */
import type { Envelope } from '../../kernel/contracts/events.js';
import { resourceExhausted } from '../../kernel/errors.js';
import type { Fields, Filter } from '../../lib/filters/filters.js';

type Result = IteratorResult<Envelope, undefined>;

const DONE: Result = { done: true, value: undefined };

export class Subscription implements AsyncIterableIterator<Envelope, undefined> {
  readonly #matches: Filter;
  readonly #limit: number;
  readonly #leave: () => void;
  #waiting: Envelope[] = [];
  /** Readers that came before their event. */
  readonly #readers: PromiseWithResolvers<Result>[] = [];
  #ended = false;
  #failure: Error | undefined;

  /** `leave` is called once, when no more events are wanted. */
  constructor(matches: Filter, limit: number, leave: () => void) {
    this.#matches = matches;
    this.#limit = limit;
    this.#leave = leave;
  }

  offer(envelope: Envelope, fields: Fields): void {
    if (this.#ended || !this.#matches(fields)) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) reader.resolve({ done: false, value: envelope });
    else if (this.#waiting.length < this.#limit) this.#waiting.push(envelope);
    else this.#overflow();
  }

  #overflow(): void {
    this.#failure = resourceExhausted(`the subscriber is ${this.#limit} events behind and was dropped`, {
      remedy: 'subscribe again and read faster, or filter more narrowly',
    });
    this.#waiting = [];
    this.end();
  }

  /** No more events; those that wait can still be read. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#leave();
    for (const reader of this.#readers.splice(0)) reader.resolve(DONE);
  }

  async next(): Promise<Result> {
    const value = this.#waiting.shift();
    if (value !== undefined) return { done: false, value };
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) return DONE;
    const reader = Promise.withResolvers<Result>();
    this.#readers.push(reader);
    return reader.promise;
  }

  async return(): Promise<Result> {
    this.#waiting = [];
    this.end();
    return DONE;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
