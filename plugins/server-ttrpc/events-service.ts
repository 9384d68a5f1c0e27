/** `containerd.services.events.ttrpc.v1.Events`: shims stamp their events themselves and hand them over. */
import { EventsDefinition } from '../../api/gen/services/events-ttrpc.js';
import type { Events } from '../../kernel/contracts/events.js';
import { invalidArgument } from '../../kernel/errors.js';
import { implement, type ServiceImplementation } from '../../lib/rpc/definition.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';

export const eventsService = (events: Events): ServiceImplementation =>
  implement(EventsDefinition, {
    async forward({ envelope }) {
      if (envelope?.event === undefined) throw invalidArgument('an envelope with an event is required');
      const { timestamp, namespace, topic, event } = envelope;
      events.forward({ timestamp: fromTimestamp(timestamp), namespace, topic, event });
      return {};
    },
  });
