import type { AnyMessage } from '../../kernel/contracts/scope.js';
import type { MessageStream } from '../../kernel/contracts/streams.js';
import { unavailable } from '../../kernel/errors.js';

interface Outgoing {
  readonly message: AnyMessage;
  readonly sent: () => void;
  readonly failed: (error: Error) => void;
}

/** A message stream over one two-way call: requests come in, `outgoing` is the response. */
export class CallStream implements MessageStream {
  readonly #incoming: AsyncIterator<AnyMessage>;
  readonly #queue: Outgoing[] = [];
  #wake: () => void = () => {};
  #closed = false;

  constructor(incoming: AsyncIterator<AnyMessage>) {
    this.#incoming = incoming;
  }

  send(message: AnyMessage): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#closed) reject(unavailable('the stream has ended'));
    else this.#queue.push({ message, sent: resolve, failed: reject });
    this.#wake();
    return promise;
  }

  async receive(): Promise<AnyMessage | undefined> {
    const { done, value } = await this.#incoming.next();
    return done ? undefined : value;
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** The other side is gone: whatever still waits will never be sent. */
  abort(): void {
    this.close();
    for (const { failed } of this.#queue.splice(0)) failed(unavailable('the stream has ended'));
  }

  /** What was sent, in order; ends once the stream is closed and nothing waits any more. */
  async *outgoing(): AsyncGenerator<AnyMessage> {
    try {
      for (;;) {
        const [next] = this.#queue;
        if (next) {
          yield next.message;
          next.sent();
          if (this.#queue[0] === next) this.#queue.shift();
        } else if (this.#closed) return;
        else await this.#more();
      }
    } finally {
      this.abort();
    }
  }

  #more(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }
}
