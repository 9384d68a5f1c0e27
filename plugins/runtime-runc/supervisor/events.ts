/** Events on their way to the daemon: kept until it confirms them, whoever it is by then. */
import type { Event } from '../../../api/gen/runtime/supervisor.js';
import { resourceExhausted } from '../../../kernel/errors.js';
import { type NamedCodec, packAny } from '../../../lib/rpc/any.js';
import { now, toTimestamp } from '../../../lib/rpc/timestamp.js';

/** Events kept; beyond that the oldest which nobody's correctness hangs on are dropped. */
const CAPACITY = 16_384;

interface Kept {
  readonly event: Event;
  readonly onDelivered: (() => void) | undefined;
}

export class EventLog {
  #kept: Kept[] = [];
  #sequence = 0n;
  #waiting = new Set<() => void>();
  readonly #watchers = new Set<Event[]>();

  /**
   * Appends an event. One with `onDelivered` is never dropped; the callback
   * runs when its delivery has been confirmed.
   */
  publish<T>(topic: string, codec: NamedCodec<T>, message: T, onDelivered?: () => void): void {
    this.#sequence += 1n;
    const event = {
      sequence: this.#sequence,
      timestamp: toTimestamp(now()),
      topic,
      event: packAny(codec, message),
    };
    this.#kept.push({ event, onDelivered });
    if (this.#kept.length > CAPACITY) this.#dropOne();
    for (const watcher of this.#watchers) watcher.push(event);
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Sequence of the last event that is not confirmed; 0 when there is none. */
  get undelivered(): bigint {
    return this.#kept.at(-1)?.event.sequence ?? 0n;
  }

  #dropOne(): void {
    const victim = this.#kept.findIndex(({ onDelivered }) => onDelivered === undefined);
    if (victim >= 0) this.#kept.splice(victim, 1);
  }

  /** Forgets all up to `sequence`: they have been delivered. */
  confirm(sequence: bigint): void {
    const delivered = this.#kept.filter(({ event }) => event.sequence <= sequence);
    this.#kept = this.#kept.filter(({ event }) => event.sequence > sequence);
    for (const { onDelivered } of delivered) onDelivered?.();
  }

  /** The events not confirmed yet, as soon as there are any; empty once the signal is aborted. */
  async next(signal: AbortSignal): Promise<Event[]> {
    while (this.#kept.length === 0 && !signal.aborted) await this.#woken(signal);
    return this.#kept.map(({ event }) => event);
  }

  /** The events not confirmed yet and those that come, without confirming any; ends with the signal, or when it falls behind. */
  async *watch(signal: AbortSignal): AsyncGenerator<Event> {
    const queue = this.#kept.map(({ event }) => event);
    this.#watchers.add(queue);
    try {
      while (!signal.aborted) {
        if (queue.length > CAPACITY) throw resourceExhausted(`this watcher is ${CAPACITY} events behind`);
        const event = queue.shift();
        if (event === undefined) await this.#woken(signal);
        else yield event;
      }
    } finally {
      this.#watchers.delete(queue);
    }
  }

  #woken(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      signal.addEventListener('abort', wake, { once: true });
      this.#waiting.add(wake);
    });
  }
}
