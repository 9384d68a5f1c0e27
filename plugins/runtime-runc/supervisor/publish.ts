import { setTimeout as delay } from 'node:timers/promises';
import { EventsDefinition } from '../../../api/gen/services/events-ttrpc.js';
import { TtrpcClient } from '../../../lib/ttrpc/client.js';
import { scopeMetadata } from '../../../lib/ttrpc/metadata.js';
import type { EventLog } from './events.js';
import { logError } from './log.js';

/** Milliseconds containerd has to take an event. */
const DEADLINE = 5000;
/** First and longest pause between attempts, milliseconds. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2000;

/** Sends events to the containerd whose shim this supervisor is; again and again while it is away. */
export class Publisher {
  readonly #events: EventLog;
  readonly #namespace: string;
  readonly #address: string;
  #connected = false;

  constructor(events: EventLog, namespace: string, address: string) {
    this.#events = events;
    this.#namespace = namespace;
    this.#address = address;
  }

  /** Whether containerd is there. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Never ends. */
  async run(): Promise<never> {
    for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        const client = await TtrpcClient.connect(this.#address);
        pause = FIRST_PAUSE;
        this.#connected = true;
        await this.#forwardAll(client).finally(() => client.close());
      } catch (error) {
        if (this.#connected) logError('events are not taken', error, { address: this.#address });
      }
      this.#connected = false;
      await delay(pause);
    }
  }

  /** In order, each confirmed once it is taken. Ends with the connection. */
  async #forwardAll(client: TtrpcClient): Promise<void> {
    const stub = client.stub(EventsDefinition);
    const gone = new AbortController();
    void client.ended.then(() => gone.abort());
    const metadata = scopeMetadata({ namespace: this.#namespace });
    while (!client.closed) {
      for (const { sequence, topic, timestamp, event } of await this.#events.next(gone.signal)) {
        const envelope = { timestamp, namespace: this.#namespace, topic, event };
        await stub.forward({ envelope }, { metadata, timeout: DEADLINE });
        this.#events.confirm(sequence);
      }
    }
  }
}
