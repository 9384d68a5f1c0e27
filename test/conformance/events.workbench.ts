/** What the checks of the events kit work with: a bus, and subscribers that wait no longer than is sensible. */
import assert from 'node:assert/strict';
import type { Envelope } from '../../kernel/contracts/events.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import type { Subject } from './runner.js';

type Maybe<T> = T | Promise<T>;

/** The contract, near or far: over a wire, publishing and subscribing take their time. */
export interface EventBus {
  publish(namespace: string, topic: string, event: AnyMessage): Maybe<void>;
  forward(envelope: Envelope): Maybe<void>;
  /** The subscription stands once this has settled. */
  subscribe(filters: readonly string[], signal: AbortSignal): Maybe<AsyncIterable<Envelope>>;
}

export interface OpenEvents {
  readonly bus: EventBus;
  close(): Promise<void>;
}

export interface EventsSubject extends Subject {
  open(): Promise<OpenEvents>;
  readonly can: {
    /** A subscriber that reads nothing is dropped, at the latest after that many events; false: it is kept. */
    readonly dropSlowSubscribers: number | false;
    /** Topics and namespaces are checked for their form, beyond the slash that a topic begins with. */
    readonly checkNames: boolean;
    /** A filter that is none is INVALID_ARGUMENT; false: it is refused with any code. */
    readonly explainFilters: boolean;
    /**
     * Who leaves changes nothing for the others. False: an event may come twice to the one who subscribed last, as from
     * containerd, which walks its list of subscribers while it takes one out.
     */
    readonly leaveQuietly: boolean;
  };
}

/** containerd.events.ContainerCreate of container "one": what a filter may look into. */
export const CREATED: AnyMessage = {
  typeUrl: 'containerd.events.ContainerCreate',
  value: Buffer.from('0a036f6e651203696d67', 'hex'),
};
export const OTHER: AnyMessage = { typeUrl: 'example.Unknown', value: Buffer.from([0xff, 0xfe]) };

/** Published last: what a subscriber has seen when this arrives is all that it gets. */
const END = '/kit/end';
/** A filter for subscribers that have others, beside those. */
export const ENDS = `topic=="${END}"`;

/** Milliseconds. An event that has not come by then never will. */
const LATEST = 10_000;

export const topicsOf = (envelopes: readonly Envelope[] | undefined): string[] =>
  (envelopes ?? []).map(({ topic }) => topic);

export class Bench {
  readonly bus: EventBus;
  readonly #ends: AbortController[] = [];

  constructor(bus: EventBus) {
    this.bus = bus;
  }

  async subscribe(...filters: readonly string[]): Promise<Subscriber> {
    const end = new AbortController();
    this.#ends.push(end);
    return new Subscriber(await this.bus.subscribe(filters, end.signal), end);
  }

  async publish(topic: string, event = CREATED, namespace = 'kit'): Promise<void> {
    await this.bus.publish(namespace, topic, event);
  }

  /** All that each of them has got so far and not read. */
  async seen(...subscribers: readonly Subscriber[]): Promise<Envelope[][]> {
    const reading = subscribers.map((subscriber) => subscriber.until(END));
    const [seen] = await Promise.all([Promise.all(reading), this.publish(END)]);
    return seen;
  }

  async topics(subscriber: Subscriber): Promise<string[]> {
    const [seen] = await this.seen(subscriber);
    return topicsOf(seen);
  }

  close(): void {
    for (const end of this.#ends) end.abort();
  }
}

export class Subscriber {
  readonly end: AbortController;
  readonly #iterator: AsyncIterator<Envelope>;

  constructor(stream: AsyncIterable<Envelope>, end: AbortController) {
    this.end = end;
    this.#iterator = stream[Symbol.asyncIterator]();
  }

  async next(): Promise<IteratorResult<Envelope>> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`no event within ${LATEST / 1000} s`)), LATEST);
    try {
      return await Promise.race([this.#iterator.next(), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  async take(count: number): Promise<Envelope[]> {
    const taken: Envelope[] = [];
    while (taken.length < count) taken.push(await this.#one(taken.length));
    return taken;
  }

  /** What comes before the event of that topic. */
  async until(last: string): Promise<Envelope[]> {
    const taken: Envelope[] = [];
    for (;;) {
      const envelope = await this.#one(taken.length);
      if (envelope.topic === last) return taken;
      taken.push(envelope);
    }
  }

  async topics(count: number): Promise<string[]> {
    return topicsOf(await this.take(count));
  }

  async leave(): Promise<void> {
    await this.#iterator.return?.();
  }

  async #one(before: number): Promise<Envelope> {
    const { done, value } = await this.next();
    assert.ok(!done, `ended after ${before} events`);
    return value;
  }
}

export const rejects = (code: ErrorCode, work: () => Promise<unknown>): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    return true;
  });

export type Check = (bench: Bench, can: EventsSubject['can']) => Promise<void>;
