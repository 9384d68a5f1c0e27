/** Streams of grpc-js as async iterators. */
import { once } from 'node:events';
import type { ClientDuplexStream, ClientReadableStream } from '@grpc/grpc-js';
import type { ServerStream } from './stub.js';

/** Turns what a call failed with into what its user should see. */
export type Explain = (error: unknown) => unknown;

type Outgoing = ClientDuplexStream<Buffer, unknown>;
type Call = ClientReadableStream<unknown> | Outgoing;

/** Messages from the server. */
export class IncomingStream implements ServerStream<unknown> {
  readonly opened: Promise<void>;
  /** Settles with the status of the call; never rejects. */
  protected readonly ended: Promise<void>;
  #failure: unknown;
  readonly #call: Call;
  readonly #explain: Explain;
  readonly #messages: AsyncGenerator<unknown, undefined>;

  constructor(call: Call, explain: Explain) {
    this.#call = call;
    this.#explain = explain;
    call.once('error', (error: unknown) => this.fail(explain(error)));
    this.ended = new Promise((resolve) => call.once('status', () => resolve()));
    this.opened = this.#open();
    // whoever iterates sees the same failure, so nobody has to wait for this promise
    this.opened.catch(() => undefined);
    this.#messages = this.#receive();
  }

  async #open(): Promise<void> {
    const headers = new Promise<void>((resolve) => this.#call.once('metadata', () => resolve()));
    await Promise.race([headers, this.ended]);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async *#receive(): AsyncGenerator<unknown, undefined> {
    try {
      for await (const message of this.#call) yield message;
    } catch (error) {
      throw this.#failure ?? this.#explain(error);
    } finally {
      this.#call.cancel();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** What the messages end with; the first failure counts. */
  protected fail(error: unknown): void {
    this.#failure ??= error;
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    return this.#messages.next();
  }

  return(): Promise<IteratorResult<unknown, undefined>> {
    this.#call.cancel();
    return this.#messages.return(undefined);
  }

  cancel(): void {
    this.#call.cancel();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Sends every message, no faster than the server takes them; stops when the call has ended. */
async function sendAll(messages: AsyncIterable<Buffer>, call: Outgoing, ended: Promise<void>): Promise<void> {
  let over = false;
  call.once('status', () => {
    over = true;
  });
  for await (const message of messages) {
    if (over) return;
    if (!call.write(message)) await Promise.race([once(call, 'drain'), ended]);
  }
  call.end();
}

/** Messages both ways: those of the caller are sent while the server's are read. */
export class BothWaysStream extends IncomingStream {
  constructor(call: Outgoing, messages: AsyncIterable<Buffer>, explain: Explain) {
    super(call, explain);
    sendAll(messages, call, this.ended).catch((error: unknown) => {
      this.fail(error);
      call.cancel();
    });
  }
}
