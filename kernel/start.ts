/** What is entered must be left: the lock on the root, a plugin's start and its releases, each within its time. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Logger } from 'pino';
import { settlesWithin } from './discover.js';
import { KernelError, messageOf, type Problem, problem } from './errors.js';
import type { Outcome, Plugin, StartContext } from './plugin.js';

const active = new AsyncLocalStorage<string>();

/** Id of the plugin whose start or release the current code descends from, even long after. */
export const activePlugin = (): string | undefined => active.getStore();

export interface Directories {
  readonly root: string;
  readonly state: string;
}

const directory = (path: string, mode: number): string => {
  mkdirSync(path, { recursive: true, mode });
  chmodSync(path, mode);
  return path;
};

/**
 * Makes both directories and takes the root for this kernel alone. The lock is
 * an open transaction of SQLite on an empty file: a POSIX record lock, which
 * the system drops when its holder dies, however it dies. Resolves to the
 * release. Throws {@link KernelError} naming the holder's pid.
 */
export function occupy({ root, state }: Directories): () => void {
  prepareDirectories({ root, state });
  const lock = new DatabaseSync(join(root, 'lock'));
  const pidFile = join(root, 'pid');
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    const message = `root "${root}" is in use by process ${readPid(pidFile)}; stop it or choose another root`;
    throw refusal('KEELSON_LOCKED', message, error);
  }
  writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  return () => lock.close();
}

const refusal = (...trouble: Parameters<typeof problem>): KernelError =>
  new KernelError('FAILED_PRECONDITION', 'taking the root directory', [problem(...trouble)]);

function prepareDirectories({ root, state }: Directories): void {
  if (root === state) throw refusal('KEELSON_DIRECTORY', `"root" and "state" are both "${root}"; they must differ`);
  try {
    directory(root, 0o700);
    directory(state, 0o711);
  } catch (error) {
    throw refusal('KEELSON_DIRECTORY', `cannot make "${root}" and "${state}": ${messageOf(error)}`, error);
  }
}

function readPid(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    return `of unknown pid (${messageOf(error)})`;
  }
}

type Release = () => Promise<void> | void;

/** The releases of one plugin: run once, backwards, each failure kept. */
export class Releases {
  readonly #plugin: string;
  readonly #log: Logger;
  readonly #list: Release[] = [];
  #closed = false;

  constructor(plugin: string, log: Logger) {
    this.#plugin = plugin;
    this.#log = log;
  }

  /** A plugin that goes on starting after it was given up has its releases run as they come. */
  add(release: Release): void {
    if (!this.#closed) this.#list.push(release);
    else
      this.#call(release).catch((error: unknown) => this.#log.error({ err: error }, 'release after the stop failed'));
  }

  /** `deadline` in milliseconds holds for all together; after it the rest is called but not waited for. */
  async run(deadline: number): Promise<readonly Problem[]> {
    this.#closed = true;
    const problems: Problem[] = [];
    const end = performance.now() + deadline;
    for (const release of this.#list.splice(0).reverse()) {
      const work = this.#call(release).catch((error: unknown) => {
        const message = `plugin "${this.#plugin}" failed to stop: ${messageOf(error)}`;
        problems.push(problem('KEELSON_STOP_FAILED', message, error));
      });
      if (await settlesWithin(work, Math.max(0, end - performance.now()))) continue;
      const seconds = deadline / 1000;
      const message = `plugin "${this.#plugin}" did not stop within ${seconds} s; one of its releases never resolves`;
      problems.push(problem('KEELSON_STOP_DEADLINE', message));
    }
    for (const { situation, message, cause } of problems) this.#log.error({ situation, err: cause }, message);
    return problems;
  }

  async #call(release: Release): Promise<void> {
    await active.run(this.#plugin, release);
  }
}

class Skip extends Error {}

export interface Setup extends Pick<StartContext<never, never>, 'log' | 'advertise'> {
  readonly plugin: Plugin;
  readonly directories: Directories;
  readonly config: unknown;
  readonly deps: Readonly<Record<string, unknown>>;
  readonly releases: Releases;
  /** Aborted when the kernel is told to stop. */
  readonly stopping: AbortSignal;
  /** Milliseconds. */
  readonly deadline: number;
}

export interface Verdict {
  readonly outcome: Outcome;
  /** Present for every outcome but `ok`. */
  readonly reason?: string;
  readonly problem?: Problem;
  /** The services of a plugin that has just started. */
  readonly offered?: Readonly<Record<string, unknown>>;
}

const failed = (trouble: Problem): Verdict => ({ outcome: 'error', reason: trouble.message, problem: trouble });

/** Starts one plugin. Never throws; what was acquired by a start that failed is still in `releases`. */
export async function startPlugin(setup: Setup): Promise<Verdict> {
  const { plugin, deadline, log, stopping } = setup;
  const { id } = plugin;
  const late = new AbortController();
  const start = active.run(id, async () => plugin.start(contextOf(setup, late.signal)));
  if (!(await settlesWithin(start, deadline))) {
    late.abort();
    start.then(
      () => log.warn('finished starting after it was given up; what it offers is not used'),
      (error: unknown) => log.warn({ err: error }, 'failed after its start was given up'),
    );
    const forgot = 'it probably awaits something that never comes: resolve `start` once the service can be called';
    return failed(
      problem('KEELSON_START_DEADLINE', `plugin "${id}" did not start within ${deadline / 1000} s; ${forgot}`),
    );
  }
  try {
    return judge(plugin, await start);
  } catch (error) {
    if (error instanceof Skip) return { outcome: 'skip', reason: error.message };
    const doing = stopping.aborted ? 'was stopped while starting' : 'failed to start';
    return failed(problem('KEELSON_START_FAILED', `plugin "${id}" ${doing}: ${messageOf(error)}`, error));
  }
}

function judge({ id, provides }: Plugin, offered: unknown): Verdict {
  const record: Readonly<Record<string, unknown>> =
    typeof offered === 'object' && offered !== null ? { ...offered } : {};
  const absent = Object.keys(provides).filter((name) => record[name] === undefined);
  if (absent.length === 0) return { outcome: 'ok', offered: record };
  const names = absent.map((name) => `"${name}" (${provides[name].id})`).join(', ');
  return failed(
    problem('KEELSON_WRONG_SHAPE', `plugin "${id}" started without offering ${names}; its \`start\` must return them`),
  );
}

function contextOf(setup: Setup, late: AbortSignal): StartContext<never, never> {
  const { plugin, directories, releases, stopping } = setup;
  const folder = `${plugin.wire.type}.${plugin.wire.id}`;
  // Erased here, checked where the plugin was defined: `definePlugin` ties all of these together.
  const typed = { config: setup.config as never, deps: setup.deps as never };
  return {
    ...typed,
    log: setup.log,
    get signal() {
      return AbortSignal.any([stopping, late]);
    },
    rootDir: () => directory(join(directories.root, folder), 0o700),
    stateDir: () => directory(join(directories.state, folder), 0o700),
    advertise: setup.advertise,
    onStop: (release) => releases.add(release),
    skip: (reason) => {
      throw new Skip(reason);
    },
  };
}
