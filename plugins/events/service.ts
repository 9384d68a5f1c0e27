import { EventsDefinition } from '../../api/gen/services/events.js';
import type { Envelope as EnvelopeMessage } from '../../api/gen/types/event.js';
import { type Envelope, Events } from '../../kernel/contracts/events.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { invalidArgument } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { fromTimestamp, toTimestamp } from '../../lib/rpc/timestamp.js';

const toMessage = ({ timestamp, namespace, topic, event }: Envelope): EnvelopeMessage => ({
  timestamp: toTimestamp(timestamp),
  namespace,
  topic,
  event: { typeUrl: event.typeUrl, value: event.value },
});

async function* messages(envelopes: AsyncIterable<Envelope>): AsyncIterable<EnvelopeMessage> {
  for await (const envelope of envelopes) yield toMessage(envelope);
}

function fromMessage(message: EnvelopeMessage | undefined): Envelope {
  if (message?.event === undefined) throw invalidArgument('an envelope with an event is required');
  const { timestamp, namespace, topic, event } = message;
  return { timestamp: fromTimestamp(timestamp), namespace, topic, event };
}

/** The event exchange over gRPC. */
export const plugin = definePlugin({
  id: 'events-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'events' },
  config: noSettings,
  requires: { events: Events },
  provides: { service: GrpcServices },
  start: async ({ deps: { events } }) => ({
    service: implement(EventsDefinition, {
      async publish({ topic, event }, call) {
        if (event === undefined) throw invalidArgument('an event is required');
        events.publish(call.scope().namespace, topic, event);
        return {};
      },
      async forward({ envelope }) {
        events.forward(fromMessage(envelope));
        return {};
      },
      // subscribed before this returns, so that headers tell the caller that the subscription stands
      subscribe: ({ filters }, { signal }) => messages(events.subscribe(filters, signal)),
    }),
  }),
});
