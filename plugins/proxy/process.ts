/** The process of a proxy plugin that the daemon itself starts, and starts again when it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Logger } from 'pino';
import { readStat } from '../../lib/linux/proc.js';
import type { ProxySettings } from '../../lib/proxy-settings.js';

/** Milliseconds before the first restart; each further one comes after twice the time. */
const FIRST_DELAY = 100;

/** Milliseconds after which a process that ends counts as having worked: the delays begin anew. */
const STEADY = 60_000;

export interface ProcessParts {
  readonly settings: ProxySettings;
  /** In which is noted which process it is, so that the next daemon finds one that a killed daemon left. */
  readonly directory: string;
  readonly log: Logger;
  /** Gets a sentence on the state whenever it changes. */
  readonly show: (state: string) => void;
}

export class SupervisedProcess {
  readonly #note: string;
  readonly #settings: ProxySettings;
  readonly #log: Logger;
  readonly #show: (state: string) => void;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #delay = FIRST_DELAY;
  #restarts = 0;
  #stopping = false;

  constructor({ settings, directory, log, show }: ProcessParts) {
    this.#note = join(directory, 'process');
    this.#settings = settings;
    this.#log = log;
    this.#show = show;
  }

  /** Ends what a killed daemon left running, and starts. */
  start(): void {
    const [pid = '', startTime] = existsSync(this.#note) ? readFileSync(this.#note, 'utf8').split(' ') : [];
    if (startTime !== undefined && readStat(Number(pid))?.startTime === startTime) {
      this.#log.warn({ pid }, 'ending the process that an earlier daemon left');
      process.kill(-Number(pid), 'SIGKILL');
    }
    this.#spawn();
  }

  #spawn(): void {
    const [program = '', ...args] = this.#settings.command;
    const env = { PATH: process.env.PATH ?? '', ...this.#settings.env };
    // A session of its own: what it starts is in its group, and ends with it.
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const begin = performance.now();
    this.#child = child;
    if (child.pid !== undefined) writeFileSync(this.#note, `${child.pid} ${readStat(child.pid)?.startTime}`);
    if (child.pid !== undefined) this.#show(`running as process ${child.pid}, ${this.#restarts} restarts`);
    this.#pass(child.stdout);
    this.#pass(child.stderr);
    // Either comes alone: an error when there was never a process, an exit when there was.
    child.once('error', (error) => this.#ended(`cannot be started: ${error.message}`, begin));
    child.once('exit', (code, signal) => this.#ended(`ended with ${signal ?? `exit code ${code}`}`, begin));
  }

  /** SIGTERM, and SIGKILL to a process that does not heed it. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const group = -child.pid;
    process.kill(group, 'SIGTERM');
    const patience = setTimeout(() => process.kill(group, 'SIGKILL'), this.#settings.stop_timeout * 1000);
    await ended;
    clearTimeout(patience);
  }

  #ended(how: string, begin: number): void {
    if (this.#stopping) return;
    if (performance.now() - begin > STEADY) this.#delay = FIRST_DELAY;
    const delay = Math.min(this.#delay, this.#settings.max_restart_delay * 1000);
    this.#delay = delay * 2;
    this.#restarts += 1;
    this.#show(`${how}; restart ${this.#restarts} in ${delay / 1000} s`);
    this.#log.warn({ restarts: this.#restarts, delay }, `the process of the plugin ${how}`);
    this.#timer = setTimeout(() => this.#spawn(), delay);
  }

  /** What it prints goes into the log, line by line. */
  #pass(output: Readable): void {
    createInterface({ input: output }).on('line', (line) => this.#log.info({ line: line.slice(0, 4096) }, 'says'));
  }
}
