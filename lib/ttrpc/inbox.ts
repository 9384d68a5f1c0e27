/** Messages of one stream on their way to whoever reads them. */

type Waiter = { resolve(result: IteratorResult<Uint8Array>): void; reject(error: unknown): void };

/** Bytes a queued message takes beyond its own. */
const OVERHEAD = 128;

/**
 * A queue with one reader. `onLoad` hears how many bytes it holds, after each
 * change, so that the connection can stop reading in time.
 */
export class Inbox implements AsyncIterableIterator<Uint8Array> {
  readonly #queue: Uint8Array[] = [];
  readonly #onLoad: (change: number) => void;
  #waiter: Waiter | undefined;
  #ended = false;
  #failure: unknown;

  constructor(onLoad: (change: number) => void) {
    this.#onLoad = onLoad;
  }

  get ended(): boolean {
    return this.#ended;
  }

  push(message: Uint8Array): void {
    if (this.#ended) return;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter) waiter.resolve({ value: message, done: false });
    else {
      this.#queue.push(message);
      this.#onLoad(message.length + OVERHEAD);
    }
  }

  /** No more messages; with an error, the reader gets it after those that arrived. */
  end(failure?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter) this.#finish(waiter);
  }

  #finish({ resolve, reject }: Waiter): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure === undefined) resolve({ value: undefined, done: true });
    else reject(failure);
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    return new Promise((resolve, reject) => {
      const message = this.#queue.shift();
      if (message !== undefined) {
        this.#onLoad(-message.length - OVERHEAD);
        resolve({ value: message, done: false });
      } else if (this.#ended) this.#finish({ resolve, reject });
      else this.#waiter = { resolve, reject };
    });
  }

  /** The reader has had enough: everything still queued is dropped. */
  return(): Promise<IteratorResult<Uint8Array>> {
    for (const message of this.#queue.splice(0)) this.#onLoad(-message.length - OVERHEAD);
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
