/** When things expire. Labels say it in wall-clock time, which may be set; what counts here is time passed. */

const NANOS_PER_MILLI = 1_000_000;

export interface Clock {
  /** Nanoseconds since the Unix epoch. */
  wall(): bigint;
  /** Milliseconds since some moment, never set back. */
  monotonic(): number;
}

export const systemClock: Clock = {
  wall: () => BigInt(Date.now()) * BigInt(NANOS_PER_MILLI),
  monotonic: () => performance.now(),
};

interface Deadline {
  readonly expires: bigint;
  /** Monotonic milliseconds. */
  readonly due: number;
}

const toMillis = (nanos: bigint): number => Number(nanos) / NANOS_PER_MILLI;

/**
 * Deadlines, fixed on the monotonic clock the first time they are seen: a wall
 * clock that is set while the daemon runs ends or stretches nothing. Across a
 * restart only the wall clock is left; there, the time between `since` and
 * `expires` is the most that can remain.
 */
export class Expiries {
  readonly #clock: Clock;
  readonly #deadlines = new Map<string, Deadline>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds until then; 0 or less when it expired. `since` is when the thing was made or changed. */
  remaining(id: string, expires: bigint, since: bigint): number {
    const known = this.#deadlines.get(id);
    const deadline = known?.expires === expires ? known : this.#fix(id, expires, since);
    return deadline.due - this.#clock.monotonic();
  }

  forget(id: string): void {
    this.#deadlines.delete(id);
  }

  #fix(id: string, expires: bigint, since: bigint): Deadline {
    const left = toMillis(expires - this.#clock.wall());
    const most = toMillis(expires - since);
    const deadline = { expires, due: this.#clock.monotonic() + Math.min(left, most) };
    this.#deadlines.set(id, deadline);
    return deadline;
  }
}
