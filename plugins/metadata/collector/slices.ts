/** Milliseconds of the event loop that a collection takes in one go. */
const SLICE = 3;

/** Work cut into slices, between which everybody else gets a turn; and how long they were. */
export class Slices {
  #began = performance.now();
  #longest = 0;
  #busy = 0;

  /** Milliseconds of the longest slice. */
  get longest(): number {
    return this.#longest;
  }

  /** Milliseconds of all slices. */
  get busy(): number {
    return this.#busy;
  }

  /** This slice has had its time: rest before going on. */
  get over(): boolean {
    return performance.now() - this.#began >= SLICE;
  }

  /** Begins a slice after waiting for something else. */
  begin(): void {
    this.#began = performance.now();
  }

  end(): void {
    const spent = performance.now() - this.#began;
    this.#busy += spent;
    this.#longest = Math.max(this.#longest, spent);
  }

  async rest(): Promise<void> {
    this.end();
    await new Promise((resolve) => setImmediate(resolve));
    this.begin();
  }
}
