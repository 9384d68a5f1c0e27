/** The event exchange: checks, stamps, and hands every event to the subscriptions it matches. */
import type { Envelope, Events } from '../../kernel/contracts/events.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { invalidArgument } from '../../kernel/errors.js';
import { compileFilters } from '../../lib/filters/filters.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { now, ZERO_TIME } from '../../lib/rpc/timestamp.js';
import { fieldsOf } from './fields.js';
import { Subscription } from './subscription.js';

/** `/tasks/exec-added`: one or more identifiers, each after a slash. */
function checkTopic(topic: string): void {
  if (!topic.startsWith('/')) throw invalidArgument(`event topic "${topic}" does not start with "/"`);
  for (const part of topic.slice(1).split('/')) checkIdentifier(part, `part of the event topic "${topic}"`);
}

export class Exchange implements Events {
  readonly #subscriptions = new Set<Subscription>();
  readonly #limit: number;

  /** `limit`: events that may wait for one subscriber. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  publish(namespace: string, topic: string, event: AnyMessage): void {
    this.forward({ timestamp: now(), namespace, topic, event });
  }

  forward(envelope: Envelope): void {
    checkIdentifier(envelope.namespace, 'namespace of an event');
    checkTopic(envelope.topic);
    if (envelope.timestamp === ZERO_TIME) throw invalidArgument(`event "${envelope.topic}" has no timestamp`);
    const fields = fieldsOf(envelope);
    for (const subscription of this.#subscriptions) subscription.offer(envelope, fields);
  }

  subscribe(filters: readonly string[], signal: AbortSignal): AsyncIterable<Envelope> {
    const subscription = new Subscription(compileFilters(filters), this.#limit, () => {
      signal.removeEventListener('abort', end);
      this.#subscriptions.delete(subscription);
    });
    const end = (): void => subscription.end();
    this.#subscriptions.add(subscription);
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    return subscription;
  }
}
