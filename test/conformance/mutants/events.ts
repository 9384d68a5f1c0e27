/** Event buses with one behaviour broken each: the exchange of the tree, with what goes in or comes out changed. */
import type { Envelope } from '../../../kernel/contracts/events.js';
import { hasCode, invalidArgument } from '../../../kernel/errors.js';
import { Exchange } from '../../../plugins/events/exchange.js';
import type { EventsSubject } from '../events.js';
import { altered } from './altered.js';
import type { Mutant } from './mutant.js';

/** Events that may wait for one subscriber. */
const QUEUE = 1000;

export const soundEvents: EventsSubject = {
  name: 'events',
  unavailable: async () => undefined,
  can: { dropSlowSubscribers: QUEUE, checkNames: true, explainFilters: true, leaveQuietly: true },
  open: async () => ({ bus: new Exchange(QUEUE), close: async () => undefined }),
};

type Bus = Pick<Exchange, 'publish' | 'forward' | 'subscribe'>;
type Publish = Bus['publish'];

const mutant = (title: string, caughtBy: RegExp, change: (bus: Bus) => Partial<Bus>): Mutant<EventsSubject> => ({
  title,
  caughtBy,
  subject: () => ({
    ...soundEvents,
    async open() {
      const bus: Bus = new Exchange(QUEUE);
      return { bus: altered(bus, change(bus)), close: async () => undefined };
    },
  }),
});

/** `change`: what comes out of a subscription, made of what should. */
const ofStreams = (
  title: string,
  caughtBy: RegExp,
  change: (events: AsyncIterable<Envelope>) => AsyncIterable<Envelope>,
) => mutant(title, caughtBy, (bus) => ({ subscribe: (filters, signal) => change(bus.subscribe(filters, signal)) }));

const ofEnvelopes = (title: string, caughtBy: RegExp, change: (envelope: Envelope) => readonly Envelope[]) =>
  ofStreams(title, caughtBy, async function* (events) {
    for await (const envelope of events) yield* change(envelope);
  });

/** The arguments of publications, each with its number, from one. */
const numbered = (take: (number: number, ...event: Parameters<Publish>) => void): Publish => {
  let count = 0;
  return (...event) => {
    count += 1;
    take(count, ...event);
  };
};

/** Every tenth event comes after the one behind it. */
function overtaking(bus: Bus): Partial<Bus> {
  let held: Parameters<Publish> | undefined;
  return {
    publish: numbered((number, ...event) => {
      if (number % 10 === 0) {
        held = event;
        return;
      }
      bus.publish(...event);
      if (held !== undefined) bus.publish(...held);
      held = undefined;
    }),
  };
}

function replaying(bus: Bus): Partial<Bus> {
  const history: Envelope[] = [];
  return {
    publish(namespace, topic, event) {
      history.push({ timestamp: 1n, namespace, topic, event });
      bus.publish(namespace, topic, event);
    },
    subscribe(filters, signal) {
      const earlier = [...history];
      const events = bus.subscribe(filters, signal);
      return (async function* () {
        yield* earlier;
        yield* events;
      })();
    },
  };
}

/** Whoever ends ends all. */
function endingTogether(bus: Bus): Partial<Bus> {
  const all = new AbortController();
  return {
    subscribe(filters, signal) {
      signal.addEventListener('abort', () => all.abort());
      return bus.subscribe(filters, AbortSignal.any([signal, all.signal]));
    },
  };
}

async function* firstOf(events: AsyncIterable<Envelope>): AsyncIterable<Envelope> {
  for await (const event of events) {
    yield event;
    return;
  }
}

/** Subscribers that have read nothing yet, beyond which a further one hears nothing. */
const IDLE = 5;

function withoutNewcomers(bus: Bus): Partial<Bus> {
  let idle = 0;
  return {
    subscribe(filters, signal) {
      if (idle === IDLE) return bus.subscribe(['topic=="/never"'], signal);
      idle += 1;
      const events = bus.subscribe(filters, signal);
      return (async function* () {
        idle -= 1;
        yield* events;
      })();
    },
  };
}

/** What does not begin with a slash gets one. */
const slashed = (topic: string): string => (topic.startsWith('/') ? topic : `/${topic || 'none'}`);

const WORD = /[^A-Za-z0-9]+/g;

export const eventsMutants: readonly Mutant<EventsSubject>[] = [
  ofEnvelopes('an event is handed over twice', /hands an event to who subscribed/, (envelope) => [envelope, envelope]),
  mutant('an event overtakes another', /in the order of publication/, overtaking),
  mutant('every hundredth event is lost', /hands every event to every subscriber/, (bus) => ({
    publish: numbered((number, ...event) => {
      if (number % 100 !== 0) bus.publish(...event);
    }),
  })),
  mutant('events are not stamped with the time', /stamped with the time and the namespace/, (bus) => ({
    publish: (namespace, topic, event) => bus.forward({ timestamp: 1n, namespace, topic, event }),
  })),
  mutant('events are all of one namespace', /stamped with the time and the namespace/, (bus) => ({
    publish: (_namespace, topic, event) => bus.publish('default', topic, event),
  })),
  mutant('what was published earlier is told to who comes later', /remembers nothing/, replaying),
  mutant('a subscription stands only once it is read', /keeps what is published before/, (bus) => ({
    async *subscribe(filters, signal) {
      yield* bus.subscribe(filters, signal);
    },
  })),
  mutant('a forwarded event is stamped anew', /forwards an event as it is/, (bus) => ({
    forward: ({ namespace, topic, event }) => bus.publish(namespace, topic, event),
  })),
  ofEnvelopes('messages of an unknown type lose their bytes', /forwards an event as it is/, (envelope) => {
    const { typeUrl } = envelope.event;
    if (typeUrl.startsWith('containerd.')) return [envelope];
    return [{ ...envelope, event: { typeUrl, value: new Uint8Array(0) } }];
  }),
  ofEnvelopes('only one namespace is heard', /is not limited to a namespace/, (envelope) =>
    envelope.namespace === 'kit' ? [envelope] : [],
  ),
  mutant('filters are ignored', /filters by namespace, topic and field/, (bus) => ({
    subscribe: (_filters, signal) => bus.subscribe([], signal),
  })),
  mutant('of several filters only the last counts', /any filter may match/, (bus) => ({
    subscribe: (filters, signal) => bus.subscribe(filters.slice(-1), signal),
  })),
  mutant('filters that are none are left out', /pull\/9962/, (bus) => ({
    subscribe: (filters, signal) =>
      bus.subscribe(
        filters.filter((filter) => /[=~]=/.test(filter)),
        signal,
      ),
  })),
  mutant('an expression ends its subscription once something matched', /issues\/2308/, (bus) => ({
    subscribe(filters, signal) {
      const events = bus.subscribe(filters, signal);
      return filters.some((filter) => filter.includes('~=')) ? firstOf(events) : events;
    },
  })),
  mutant('a bus takes no newcomer while others do not read', /pull\/13646/, withoutNewcomers),
  mutant('no filter looks into the event', /filters by namespace, topic and field/, (bus) => ({
    subscribe: (filters, signal) =>
      bus.subscribe(
        filters.map((filter) => filter.replace('event.', 'nothing.')),
        signal,
      ),
  })),
  mutant('a filter that is none matches all', /refuses a filter that is none/, (bus) => ({
    subscribe(filters, signal) {
      try {
        return bus.subscribe(filters, signal);
      } catch (error) {
        if (!hasCode(error, 'INVALID_ARGUMENT')) throw error;
        return bus.subscribe([], signal);
      }
    },
  })),
  mutant('a topic needs no slash', /does not begin with a slash/, (bus) => ({
    publish: (namespace, topic, event) => bus.publish(namespace, slashed(topic), event),
  })),
  mutant('topics may hold anything behind the slash', /other malformed topics/, (bus) => ({
    publish: (namespace, topic, event) =>
      bus.publish(namespace, topic.startsWith('/') ? `/${topic.replaceAll(WORD, '') || 'none'}` : topic, event),
  })),
  mutant('a refused event is delivered all the same', /an event that was refused reaches nobody/, (bus) => ({
    publish(namespace, topic, event) {
      bus.publish(namespace, slashed(topic), event);
      if (topic !== slashed(topic)) throw invalidArgument(`topic "${topic}" begins with no slash`);
    },
  })),
  mutant('who is ended goes on', /who leaves or is ended gets no more/, (bus) => ({
    subscribe: (filters) => bus.subscribe(filters, new AbortController().signal),
  })),
  mutant('who ends takes the others along', /and others go on/, endingTogether),
  mutant('a signal is heard only when it aborts later', /over when it begins/, (bus) => ({
    subscribe: (filters, signal) => bus.subscribe(filters, signal.aborted ? new AbortController().signal : signal),
  })),
  {
    title: 'events wait for a slow subscriber without bound',
    caughtBy: /a subscriber that never reads/,
    subject: () => ({
      ...soundEvents,
      open: async () => ({ bus: new Exchange(Number.POSITIVE_INFINITY), close: async () => undefined }),
    }),
  },
  ofStreams('a subscriber that is dropped is not told why', /a subscriber that never reads/, async function* (events) {
    try {
      yield* events;
    } catch (error) {
      if (!hasCode(error, 'RESOURCE_EXHAUSTED')) throw error;
    }
  }),
];
