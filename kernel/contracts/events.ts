/**
 * The event exchange. No history and no replay: a subscriber sees what is
 * published from the moment its subscription is made. Within one namespace
 * events arrive in the order they were published.
 */
import { one } from '../token.js';
import type { AnyMessage, Nanos } from './scope.js';

export interface Envelope {
  readonly timestamp: Nanos;
  readonly namespace: string;
  /** `/tasks/exit`: starts with a slash; INVALID_ARGUMENT otherwise. */
  readonly topic: string;
  readonly event: AnyMessage;
}

export interface Events {
  /** Stamps and delivers. */
  publish(namespace: string, topic: string, event: AnyMessage): void;
  /** Delivers as it is, for events stamped elsewhere. */
  forward(envelope: Envelope): void;
  /**
   * Not limited to a namespace: filters decide (`namespace`, `topic`,
   * `event.<field>`; any must match; none matches all). The subscription
   * stands when this returns. A subscriber that falls too far behind is ended
   * with RESOURCE_EXHAUSTED. Ends when `signal` aborts.
   */
  subscribe(filters: readonly string[], signal: AbortSignal): AsyncIterable<Envelope>;
}

export const Events = one<Events>('events@1');
