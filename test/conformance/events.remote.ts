/** The event bus behind the gRPC service of a daemon, ours or another. */
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../../client/index.js';
import type { Envelope } from '../../kernel/contracts/events.js';
import { hasCode } from '../../kernel/errors.js';
import { fromTimestamp, toTimestamp } from '../../lib/rpc/timestamp.js';
import type { OpenEvents } from './events.workbench.js';

type Connected = ReturnType<typeof connect>;
type Stream = ReturnType<Connected['events']['subscribe']>;

async function* envelopes(stream: Stream, signal: AbortSignal): AsyncGenerator<Envelope> {
  try {
    for await (const { timestamp, namespace, topic, event } of stream) {
      const { typeUrl = '', value = new Uint8Array(0) } = event ?? {};
      yield { timestamp: fromTimestamp(timestamp), namespace, topic, event: { typeUrl, value } };
    }
  } catch (error) {
    if (!(signal.aborted && hasCode(error, 'CANCELED'))) throw error;
  }
}

const MARK = { typeUrl: 'kit.Mark', value: new Uint8Array(0) };
let made = 0;

const isMark = ({ topic }: Envelope): boolean => topic.startsWith('/kit/mark-');

/** Publishes marks until the first one arrives: from then on the subscription stands. */
async function awaitMark(events: AsyncGenerator<Envelope>, publish: () => Promise<unknown>): Promise<void> {
  const first = events.next();
  let arrived = false;
  const seen = first.then(() => {
    arrived = true;
  });
  // the loop tells it
  seen.catch(() => undefined);
  while (!arrived) {
    await publish();
    await Promise.race([seen, delay(5)]);
  }
}

async function* withoutMarks(events: AsyncGenerator<Envelope>): AsyncGenerator<Envelope> {
  for await (const envelope of events) if (!isMark(envelope)) yield envelope;
}

export interface RemoteEvents {
  readonly address: string;
  /** The daemon answers when the subscription stands, not with the first event only. */
  readonly announcesSubscriptions: boolean;
}

/** Opens the event bus of the daemon at the socket. */
export async function remoteEvents({ address, announcesSubscriptions }: RemoteEvents): Promise<OpenEvents> {
  const client = connect({ address, namespace: 'kit' });
  return {
    bus: {
      async publish(namespace, topic, event) {
        await client.in(namespace).events.publish({ topic, event: { ...event } });
      },
      async forward({ timestamp, namespace, topic, event }) {
        const envelope = { timestamp: toTimestamp(timestamp), namespace, topic, event: { ...event } };
        await client.events.forward({ envelope });
      },
      async subscribe(filters, signal) {
        const mark = announcesSubscriptions ? undefined : `/kit/mark-${made++}`;
        // without a filter everything matches, marks too
        const all = mark === undefined || filters.length === 0 ? [...filters] : [...filters, `topic=="${mark}"`];
        const stream = client.events.subscribe({ filters: all }, { signal });
        const events = envelopes(stream, signal);
        if (mark === undefined) await stream.opened;
        else await awaitMark(events, () => client.events.publish({ topic: mark, event: MARK }));
        return withoutMarks(events);
      },
    },
    close: async () => client[Symbol.dispose](),
  };
}
