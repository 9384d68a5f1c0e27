/** Programs that tests run: to the end with their output, or in the background until disposed. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to stdin, which is then closed. Default: empty. */
  readonly input?: string | Uint8Array;
  /** A file to be stdin itself, for programs that seek in it. */
  readonly inputFile?: string;
  /** Milliseconds after which the program is killed. Default 180 000. */
  readonly timeout?: number;
}

export interface Outcome {
  readonly stdout: string;
  /** Stdout as bytes. */
  readonly bytes: Buffer;
  readonly stderr: string;
  /** Exit code; 128 plus the signal number is not imitated: a killed program has none. */
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

/** Collects what a stream delivers. */
export class Collected {
  readonly #chunks: Buffer[] = [];
  #changed = Promise.withResolvers<void>();
  #ended = false;

  constructor(stream: Readable) {
    stream.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#announce();
    });
    stream.once('close', () => {
      this.#ended = true;
      this.#announce();
    });
  }

  #announce(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return this.bytes.toString();
  }

  /** Resolves with all text so far once it matches; rejects when the stream ends, or `timeout` ms pass, before. */
  async until(pattern: RegExp, timeout = 30_000): Promise<string> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#announce();
    }, timeout);
    try {
      while (!pattern.test(this.text)) {
        if (late || this.#ended) throw this.#unmet(pattern, late ? `${timeout} ms passed` : 'the stream ended');
        await this.#changed.promise;
      }
      return this.text;
    } finally {
      clearTimeout(timer);
    }
  }

  #unmet(pattern: RegExp, reason: string): Error {
    return new Error(`waited for output like ${pattern}, but ${reason}; it was:\n${this.text}`);
  }
}

/** Environment variables that would point a program at another daemon, or keep `node --test` from running anything. */
const STRIPPED = /^(CONTAINERD|KEELSON_(?!TEST))_|^NODE_TEST_CONTEXT$/;

function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !STRIPPED.test(name));
  return { ...Object.fromEntries(inherited), LC_ALL: 'C.UTF-8', TZ: 'UTC', ...extra };
}

/** Programs that must not outlive this process, however it ends. */
const running = new Set<ChildProcess>();

function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

function killWithThisProcess(child: ChildProcess): void {
  if (running.size === 0 && process.listenerCount('exit', killAll) === 0) {
    process.on('exit', killAll);
    process.once('SIGTERM', () => process.exit(143));
    process.once('SIGINT', () => process.exit(130));
  }
  running.add(child);
  child.once('exit', () => running.delete(child));
}

/** A program that runs until it ends by itself, is stopped, or is disposed (SIGKILL). */
export class Background implements AsyncDisposable {
  readonly stdout: Collected;
  readonly stderr: Collected;
  readonly #child: ChildProcess;
  readonly #command: string;
  /** Resolves when the program has ended and its output is complete. */
  readonly ended: Promise<Outcome>;

  constructor(command: string, args: readonly string[], options: Omit<CommandOptions, 'timeout' | 'input'> = {}) {
    this.#command = [command, ...args].join(' ');
    const file = options.inputFile === undefined ? undefined : openSync(options.inputFile, 'r');
    const spawnOptions: SpawnOptions = { env: environment(options.env), stdio: [file ?? 'pipe', 'pipe', 'pipe'] };
    this.#child = spawn(
      command,
      args,
      options.cwd === undefined ? spawnOptions : { ...spawnOptions, cwd: options.cwd },
    );
    if (file !== undefined) closeSync(file);
    killWithThisProcess(this.#child);
    const { stdout, stderr } = this.#child;
    if (!stdout || !stderr) throw new Error(`no pipes from "${this.#command}"`);
    this.#child.stdin?.on('error', () => {}); // EPIPE: the program closed its stdin, which its outcome tells better
    this.stdout = new Collected(stdout);
    this.stderr = new Collected(stderr);
    this.ended = this.#outcome();
    this.ended.catch(() => {}); // reported to whoever waits for the end
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`"${this.#command}" did not start`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async #outcome(): Promise<Outcome> {
    const [code, signal] = await once(this.#child, 'close');
    return {
      stdout: this.stdout.text,
      bytes: this.stdout.bytes,
      stderr: this.stderr.text,
      code: code ?? undefined,
      signal: signal ?? undefined,
    };
  }

  write(text: string | Uint8Array): void {
    this.#child.stdin?.write(text);
  }

  closeInput(): void {
    this.#child.stdin?.end();
  }

  /** As `ended`, but kills the program and rejects after `timeout` ms. */
  async end(timeout = 180_000): Promise<Outcome> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      this.#child.kill('SIGKILL');
      late.reject(
        new Error(`"${this.#command}" still ran after ${timeout} ms:\n${this.stdout.text}${this.stderr.text}`),
      );
    }, timeout);
    try {
      return await Promise.race([this.ended, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeout = 30_000): Promise<Outcome> {
    if (this.running) this.#child.kill(signal);
    return this.end(timeout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) await this.stop('SIGKILL');
  }
}

/** Runs a program to its end, whatever its exit code. */
export async function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<Outcome> {
  const { input, timeout, ...rest } = options;
  const background = new Background(command, args, rest);
  if (input !== undefined) background.write(input);
  background.closeInput();
  return background.end(timeout);
}

/** Runs a program that must succeed; resolves to its stdout. The error of a failure holds all it printed. */
export async function succeed(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { stdout, stderr, code, signal } = await run(command, args, options);
  if (code === 0) return stdout;
  throw new Error(`"${[command, ...args].join(' ')}" ended with ${signal ?? `code ${code}`}:\n${stderr}${stdout}`);
}
