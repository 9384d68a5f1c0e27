/**
 * The memory by which compressed bytes come to the workers: so many pieces and no
 * more, however many layers are to be unpacked at once. Who comes when none is
 * free waits in order; each piece is used again, since what a thread has seen of
 * shared memory is not given back before that thread collects its garbage.
 */
import { canceled } from '../../kernel/errors.js';
import { newMemory } from './sink.js';

type Memory = SharedArrayBuffer;

export class Memories {
  readonly #most: number;
  readonly #free: Memory[] = [];
  readonly #waiting = new Set<(memory: Memory) => void>();
  #lent = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** To be given back by {@link give}. CANCELED when the signal aborts before. */
  take(signal?: AbortSignal): Promise<Memory> {
    if (this.#lent < this.#most) {
      this.#lent += 1;
      return Promise.resolve(this.#free.pop() ?? newMemory());
    }
    return this.#turn(signal);
  }

  /** Nobody writes to it or reads from it any more. */
  give(memory: Memory): void {
    const [next] = this.#waiting;
    if (next) {
      next(memory);
      return;
    }
    this.#lent -= 1;
    this.#free.push(memory);
  }

  /** Lets go of what nobody has: there were no layers for a while. */
  tidy(): void {
    this.#free.length = 0;
  }

  #turn(signal: AbortSignal | undefined): Promise<Memory> {
    const { promise, resolve, reject } = Promise.withResolvers<Memory>();
    const leave = (): void => {
      this.#waiting.delete(begin);
      signal?.removeEventListener('abort', giveUp);
    };
    const begin = (memory: Memory): void => {
      leave();
      resolve(memory);
    };
    const giveUp = (): void => {
      leave();
      reject(canceled('unpacking the layer was stopped before it began', { cause: signal?.reason }));
    };
    this.#waiting.add(begin);
    signal?.addEventListener('abort', giveUp, { once: true });
    if (signal?.aborted) giveUp();
    return promise;
  }
}
