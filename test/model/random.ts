/** Random choices that a seed repeats. */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = (seed % 2147483646) + 1;
  }

  /** The seed in KEELSON_TEST_SEED, or a new one. */
  static fromEnvironment(): Random {
    return new Random(Number(process.env.KEELSON_TEST_SEED ?? Date.now() % 1_000_000));
  }

  /** A number below `limit` (Lehmer's generator). */
  below(limit: number): number {
    this.#state = (this.#state * 48271) % 2147483647;
    return this.#state % limit;
  }

  /** True once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}
