/** The events of one connection to a supervisor, on their way to those who subscribed. */
import { setImmediate as turn } from 'node:timers/promises';
import { type Event, type NextEventsResponse, SupervisorDefinition } from '../../api/gen/runtime/supervisor.js';
import type { Stub, TtrpcClient } from '../../lib/ttrpc/client.js';

/** Milliseconds a supervisor has to say that it heard what was confirmed; one that is stopped does not. */
const CONFIRM_DEADLINE = 1000;

/** Events handed over before they are let on their way: a stream to a subscriber takes as many in a turn. */
const AT_ONCE = 16;

/** What was handed to subscribers is on its way to them: should this daemon die now, nothing is lost between us. */
async function sent(): Promise<void> {
  await turn();
  await turn();
}

/** Takes events from a supervisor, and confirms those it has handed over. */
export class EventTaking {
  readonly #control: Stub<typeof SupervisorDefinition>;
  readonly #instance: string;
  readonly #onEvent: (event: Event) => void;
  /** The last event that was handed over, and the last that the supervisor was told of. */
  #taken = 0n;
  #confirmed = 0n;
  #stopped = false;
  /** Resolves with the next confirmation, or when there is none any more; another one from then on. */
  #progress = Promise.withResolvers<void>();

  /** `instance`: the run of the supervisor that the connection leads to. */
  constructor(client: TtrpcClient, instance: string, onEvent: (event: Event) => void) {
    this.#control = client.stub(SupervisorDefinition);
    this.#instance = instance;
    this.#onEvent = onEvent;
  }

  /** Hands over events as they come, and confirms them by asking for more. Ends when stopped, or by throwing. */
  async run(): Promise<void> {
    try {
      while (!this.#stopped) {
        const { events } = await this.#confirm();
        await this.#handOver(events);
      }
    } finally {
      this.#advance();
    }
  }

  async #handOver(events: readonly Event[]): Promise<void> {
    for (let from = 0; from < events.length && !this.#stopped; from += AT_ONCE) {
      for (const event of events.slice(from, from + AT_ONCE)) {
        this.#onEvent(event);
        this.#taken = event.sequence;
      }
      await sent();
    }
  }

  #confirm(): Promise<NextEventsResponse> {
    const more = this.#control.nextEvents({ instance: this.#instance, after: this.#taken });
    this.#confirmed = this.#taken;
    this.#advance();
    return more;
  }

  #advance(): void {
    this.#progress.resolve();
    this.#progress = Promise.withResolvers<void>();
  }

  /** Resolves once the supervisor has nothing that is not confirmed, or when stopped. Throws when it cannot be asked. */
  async drained(): Promise<void> {
    while (!this.#stopped) {
      const progress = this.#progress.promise;
      const undelivered = await this.#undelivered();
      if (undelivered === 0n) return;
      if (this.#confirmed < undelivered) await progress;
    }
  }

  /** Whether the supervisor has nothing that is not confirmed. Throws when it does not say. */
  async allTold(): Promise<boolean> {
    return (await this.#undelivered()) === 0n;
  }

  async #undelivered(): Promise<bigint> {
    return (await this.#control.describe({}, { timeout: CONFIRM_DEADLINE })).undelivered;
  }

  /**
   * Hands over no more events, and confirms those that were: else the next
   * daemon would be told of them again. Throws when the supervisor does not say
   * that it heard of it.
   */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#confirmed === this.#taken) return;
    await sent();
    // What comes next is for the next daemon. Calls are heard in order, so an answer to a later one says that this was.
    this.#confirm().catch(() => undefined);
    await this.#undelivered();
  }
}
