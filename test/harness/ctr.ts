import assert from 'node:assert/strict';
import { Background, type CommandOptions, type Outcome, run } from './command.js';

export interface CtrOptions {
  readonly address: string;
  readonly namespace: string;
  /** The program. Default: Debian's, unmodified. */
  readonly program?: string;
}

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** A `ctr` with its daemon and namespace chosen. */
export class Ctr {
  readonly namespace: string;
  readonly #program: string;
  readonly #flags: readonly string[];

  constructor({ address, namespace, program = '/usr/bin/ctr' }: CtrOptions) {
    this.namespace = namespace;
    this.#program = program;
    this.#flags = ['--address', address, '--namespace', namespace];
  }

  /** Runs it to the end, whatever the exit code. */
  run(args: readonly string[], options?: CommandOptions): Promise<Outcome> {
    return run(this.#program, [...this.#flags, ...args], options);
  }

  /** Runs it; fails unless it exits with 0. Resolves to its stdout. */
  async ok(...args: readonly string[]): Promise<string> {
    const { code, signal, stdout, stderr } = await this.run(args);
    assert.equal(signal ?? code, 0, `ctr ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  }

  /** Runs it; fails unless it exits with a code above 0. Resolves to its stderr. */
  async fails(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    assert.ok(code !== undefined && code > 0, `ctr ${args.join(' ')} succeeded: ${stderr}${stdout}`);
    return stderr;
  }

  /** The rows of a table it prints, header left out, each split at runs of blanks. */
  async rows(...args: readonly string[]): Promise<string[][]> {
    const [, ...rows] = (await this.ok(...args)).split('\n').filter((line) => line.trim() !== '');
    return rows.map((row) => row.trim().split(/\s+/));
  }

  /** Runs it in the background. */
  start(...args: readonly string[]): Background {
    return new Background(this.#program, [...this.#flags, ...args]);
  }

  /**
   * Runs it in the background under a pseudo-terminal of its own, by script(1),
   * 31 rows by 97 columns; its exit code is passed on.
   */
  startInTerminal(...args: readonly string[]): Background {
    const command = [this.#program, ...this.#flags, ...args].map(quote).join(' ');
    const script = `stty rows 31 cols 97 && exec ${command}`;
    return new Background('script', ['--quiet', '--return', '--command', script, '/dev/null'], {
      env: { SHELL: '/bin/sh', TERM: 'xterm' },
    });
  }
}
