/** What `keelson conformance` does: the kits against a plugin package, or against a daemon at a socket. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { invalidArgument } from '../../kernel/errors.js';
import { type CheckResult, CollectingRunner } from './collect.js';
import { packageKits } from './command.package.js';
import { socketKits } from './command.socket.js';

export interface ConformanceOptions {
  /** A package's name or directory, or the path of a socket. */
  readonly target: string;
  /** Capabilities that the subject does not claim. */
  readonly cannot: readonly string[];
  /** Of a socket: the kits to run. Empty: all but that of records. */
  readonly kits: readonly string[];
  /** Of a socket: wire id of the snapshotter to look at. */
  readonly snapshotter: string;
  /** Of a socket: name of the runtime to look at. */
  readonly runtime: string;
  /** Of a package: its section of the configuration. */
  readonly config: unknown;
  /** Only checks whose title contains it. */
  readonly only?: string;
}

/** Kits that were asked for, ready to run. */
export interface PreparedKits extends AsyncDisposable {
  /** What is tested, in one line. */
  readonly subject: string;
}

export type Prepare = (runner: CollectingRunner, options: ConformanceOptions) => Promise<PreparedKits>;

const isSocket = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isSocket() === true;

/** The answers to what a kit asks: everything but what is said not to be. INVALID_ARGUMENT for a name that no kit knows. */
export class Answers {
  readonly #cannot: readonly string[];
  readonly #asked = new Set<string>();

  constructor(cannot: readonly string[]) {
    this.#cannot = cannot;
  }

  can(capability: string): boolean {
    this.#asked.add(capability);
    return !this.#cannot.includes(capability);
  }

  checkAllAsked(): void {
    const strange = this.#cannot.filter((name) => !this.#asked.has(name));
    if (strange.length === 0) return;
    throw invalidArgument(`no kit that runs asks for "${strange.join('", "')}"`, {
      remedy: `these are asked: ${[...this.#asked].sort().join(', ')}`,
    });
  }
}

/** Runs the kits; yields a line about the subject first, then each result. */
export async function* conform(options: ConformanceOptions): AsyncGenerator<string | CheckResult> {
  const runner = new CollectingRunner();
  const target = options.target.replace(/^unix:(?:\/\/)?/, '');
  const prepare: Prepare = isSocket(resolve(target)) ? socketKits : packageKits;
  await using kits = await prepare(runner, { ...options, target });
  yield kits.subject;
  const { only = '' } = options;
  yield* runner.run((path) => path.at(-1)?.includes(only) === true);
}
