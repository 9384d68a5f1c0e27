import { unavailable } from '../../kernel/errors.js';

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(3)}s`;

/** One writer per ref. Held in memory: a daemon that died holds nothing. */
export class RefLocks {
  readonly #since = new Map<string, { readonly wall: Date; readonly monotonic: number }>();

  /** UNAVAILABLE while it is held, in containerd's words, upon which its clients try again. */
  take(ref: string): void {
    const held = this.#since.get(ref);
    if (held) {
      const duration = seconds(performance.now() - held.monotonic);
      throw unavailable(`ref "${ref}" locked for ${duration} (since ${held.wall.toISOString()})`);
    }
    this.#since.set(ref, { wall: new Date(), monotonic: performance.now() });
  }

  release(ref: string): void {
    this.#since.delete(ref);
  }
}
