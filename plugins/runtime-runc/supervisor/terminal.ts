import { duplicate } from '../../../lib/linux/descriptor.js';
import { Copy } from './copy.js';
import { Descriptors } from './descriptors.js';

/** Milliseconds a terminal may stay silent after its process has exited while somebody else has it open. */
const GRACE = 500;

export interface TerminalEnds {
  /** The pty master; taken over. */
  readonly master: number;
  /** Where input comes from; undefined for none. Not closed here. */
  readonly input: number | undefined;
  /** Where output goes; undefined to drop it. Not closed here. */
  readonly output: number | undefined;
  onError(error: unknown): void;
}

/** A process's terminal: the pty master, and the copies between it and the client's streams. */
export class Terminal {
  readonly master: number;
  readonly #descriptors = new Descriptors();
  readonly #input: Copy | undefined;
  readonly #output: Copy;
  #onDrained: (() => void) | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor({ master, input, output, onError }: TerminalEnds) {
    this.master = this.#descriptors.add(master);
    // A descriptor can be waited for in one way at a time: input and output each get their own.
    const inward = this.#descriptors.add(duplicate(master));
    const report = (error: unknown): void => {
      if (error !== undefined) onError(error);
    };
    this.#output = new Copy(master, output, (error) => {
      report(error);
      this.#drained();
    });
    this.#input = input === undefined ? undefined : new Copy(input, inward, report);
  }

  /**
   * Calls back once everything the process wrote has been passed on: a reader
   * that takes its time is waited for, another process that keeps the terminal
   * open is not.
   */
  drain(done: () => void): void {
    this.#onDrained = done;
    if (this.#output.ended) this.#drained();
    else this.#wait();
  }

  #wait(): void {
    this.#grace = setTimeout(() => (this.#output.blocked ? this.#wait() : this.#drained()), GRACE).unref();
  }

  #drained(): void {
    clearTimeout(this.#grace);
    const done = this.#onDrained;
    this.#onDrained = undefined;
    done?.();
  }

  close(): void {
    this.#onDrained = undefined;
    clearTimeout(this.#grace);
    this.#input?.stop();
    this.#output.stop();
    this.#descriptors.closeAll();
  }
}
