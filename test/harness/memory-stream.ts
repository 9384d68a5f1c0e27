/** A stream whose client is the test: it sees what was sent, and sends what is to be received. */

import type { AnyMessage } from '../../kernel/contracts/scope.js';
import type { MessageStream } from '../../kernel/contracts/streams.js';
import { unavailable } from '../../kernel/errors.js';

export class MemoryStream implements MessageStream {
  /** What the daemon's side has sent, in order. */
  readonly sent: AnyMessage[] = [];
  readonly #waiting: AnyMessage[] = [];
  readonly #readers: ((message: AnyMessage | undefined) => void)[] = [];
  #ended = false;

  async send(message: AnyMessage): Promise<void> {
    if (this.#ended) throw unavailable('the stream has ended');
    this.sent.push(message);
  }

  async receive(): Promise<AnyMessage | undefined> {
    const message = this.#waiting.shift();
    if (message !== undefined || this.#ended) return message;
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  close(): void {
    this.#ended = true;
    for (const read of this.#readers.splice(0)) read(undefined);
  }

  /** The client sends a message. */
  push(message: AnyMessage): void {
    const read = this.#readers.shift();
    if (read === undefined) this.#waiting.push(message);
    else read(message);
  }
}
