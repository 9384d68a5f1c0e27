/**
 * A program between two streams: bytes go to its standard input while others come out of its standard output.
 * Whatever it started ends with it.
 */
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { Collector } from '../../lib/linux/collector.js';
import { makePipe } from '../../lib/linux/fifo.js';
import { ProcessHandle } from '../../lib/linux/pidfd.js';
import { sendSignal, spawn } from '../../lib/linux/process.js';

export interface FilterOptions {
  /** Absolute. */
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What it reads from descriptor 3; without it there is no such descriptor. */
  readonly payload?: Uint8Array;
}

export interface FilterEnd {
  readonly exitStatus: number;
  /** The beginning of what it said on standard error. */
  readonly said: string;
}

const SIGKILL = 9;
/** Bytes kept of standard error. */
const MOST_SAID = 4096;

type Pipe = ReturnType<typeof makePipe>;

/** The writing end as a stream. A program need not read what it is given: that its end is gone is no error here. */
function inputOf({ write }: Pipe): Socket {
  const input = new Socket({ fd: write, readable: false, writable: true });
  input.on('error', () => input.destroy());
  return input;
}

export class FilterProgram {
  /** Standard output; it ends when nobody can write to it any more. */
  readonly output: Readable;
  readonly #input: Socket;
  readonly #payload: Socket | undefined;
  readonly #errors: Collector;
  readonly #handle: ProcessHandle;
  readonly #exited: Promise<void>;
  #end: FilterEnd | undefined;

  /** Throws as execve(2) answers when it cannot be started. */
  constructor({ path, args, env, payload }: FilterOptions) {
    const [input, output, errors] = [makePipe(), makePipe(), makePipe()];
    const extra = payload === undefined ? [] : [makePipe()];
    const theirs = [input.read, output.write, errors.write, ...extra.map(({ read }) => read)];
    const ours = [input.write, output.read, errors.read, ...extra.map(({ write }) => write)];
    try {
      this.#handle = new ProcessHandle(spawn({ path, args, env, cwd: '/', files: theirs, session: true }));
    } catch (error) {
      for (const fd of ours) closeSync(fd);
      throw error;
    } finally {
      for (const fd of theirs) closeSync(fd);
    }
    this.#exited = new Promise((resolve) => this.#handle.onExit(resolve));
    this.#input = inputOf(input);
    this.output = new Socket({ fd: output.read, readable: true, writable: false });
    this.#errors = new Collector(errors.read, MOST_SAID);
    [this.#payload] = extra.map(inputOf);
    if (payload !== undefined) this.#payload?.end(payload);
  }

  /** Resolves when the bytes may be reused: the program has them, or wants none any more. */
  give(bytes: Uint8Array): Promise<void> {
    if (this.#input.destroyed) return Promise.resolve();
    return new Promise((resolve) => this.#input.write(bytes, () => resolve()));
  }

  /** No more bytes. */
  finish(): void {
    this.#input.end();
  }

  /** Ends it and all it started, whatever they do; resolves when it has ended. Idempotent. */
  async kill(): Promise<void> {
    // Until it is reaped its number, and that of its group, can be nobody else's.
    if (this.#end === undefined) sendSignal(-this.#handle.pid, SIGKILL);
    await this.ended();
  }

  /** How it ended, once it has. */
  async ended(): Promise<FilterEnd> {
    await this.#exited;
    this.#end ??= this.#reap();
    return this.#end;
  }

  #reap(): FilterEnd {
    sendSignal(-this.#handle.pid, SIGKILL);
    const exitStatus = this.#handle.exitStatus()?.exitStatus ?? 255;
    this.#handle.close();
    for (const stream of [this.#input, this.output, this.#payload]) stream?.destroy();
    return { exitStatus, said: this.#errors.take().toString().trim() };
  }
}
