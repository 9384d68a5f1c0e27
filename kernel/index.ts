/** The kernel: checks everything, then starts one plugin after another, and stops them the other way round. */
import { type Logger, pino } from 'pino';
import { type KernelConfig, millis } from './config.js';
import { canceled, KernelError, type Problem } from './errors.js';
import type { Step } from './plan.js';
import { type Advertisement, type Change, PluginReport, type PluginStatus, type Tokens } from './plugin.js';
import { type Entry, Preparation, type Preparing, statusOf, unmet } from './prepare.js';
import { Registry } from './registry.js';
import { occupy, Releases, startPlugin, type Verdict } from './start.js';
import type { Token } from './token.js';

export { describe, type KernelConfig, type Locate, type PluginEntry } from './config.js';
export * from './errors.js';
export * from './plugin.js';
export { activePlugin } from './start.js';
export { type Arity, many, one, type Token } from './token.js';

export interface KernelOptions extends Preparing {
  /** Silent by default. */
  readonly log?: Logger;
}

export interface Kernel extends AsyncDisposable {
  /** The service, or the live map of a `many`. NOT_FOUND when no running plugin provides it. */
  get<T>(token: Token<T, 'one'>): T;
  get<T>(token: Token<T, 'many'>): ReadonlyMap<string, T>;
  readonly report: PluginReport;
  /**
   * Goes over to another configuration: stops, starts and restarts what differs, with what depends on it, and leaves
   * everything else alone. What had failed or skipped is tried again; `root` and `state` stay. Throws {@link KernelError}
   * with every problem of the configuration, and nothing has changed; also when a required plugin, or one that ran
   * before, fails: then the old configuration is restored.
   */
  reload(config: KernelConfig, preparing?: Preparing): Promise<Change>;
  /** Adds to what is shown of a plugin. No error when there is none of that id. */
  advertise(id: string, facts: Advertisement): void;
  /** Stops every plugin, then throws one {@link KernelError} if any failed to. Idempotent. */
  stop(): Promise<void>;
}

export interface Inspection {
  /** In start order; those that can start have no outcome yet. */
  readonly plugins: readonly PluginStatus[];
  /** Who needs what of whom; a service is a token id. */
  readonly links: readonly { readonly plugin: string; readonly service: string; readonly provider: string }[];
  /** Everything that would keep this configuration from starting, and failed imports. */
  readonly problems: readonly Problem[];
}

export interface KernelStarter {
  /** Imports, plans and validates, and starts nothing. */
  inspect(): Promise<Inspection>;
  /** Throws {@link KernelError} with every problem; nothing is left running then. An aborted signal stops the start. */
  start(signal?: AbortSignal): Promise<Kernel>;
}

/** A kernel of the configured plugins. It touches nothing of the process: no signals, no environment, no output. */
export const createKernel = (config: KernelConfig, options: KernelOptions = {}): KernelStarter => ({
  async inspect() {
    const preparation = new Preparation(config, options);
    const problems = await preparation.run();
    const links = preparation.steps.flatMap(({ id, after }) =>
      after.map(({ token, provider }) => ({ plugin: id, service: token.id, provider })),
    );
    const plugins = preparation.inOrder().map(statusOf);
    return { plugins, links, problems: [...problems, ...preparation.failures()] };
  },
  async start(signal = new AbortController().signal) {
    const kernel = new RunningKernel(config, options, signal);
    await kernel.start(await prepared(config, options));
    return kernel;
  },
});

async function prepared(config: KernelConfig, preparing: Preparing): Promise<Preparation> {
  const preparation = new Preparation(config, preparing);
  const problems = await preparation.run();
  if (problems.length > 0) throw new KernelError('INVALID_ARGUMENT', 'checking the configuration', problems);
  return preparation;
}

class RunningKernel implements Kernel {
  readonly report: PluginReport;
  readonly #options: KernelOptions;
  readonly #log: Logger;
  readonly #registry = new Registry();
  readonly #running = new Map<string, { readonly entry: Entry; readonly releases: Releases }>();
  readonly #stopping = new AbortController();
  readonly #signal: AbortSignal;
  #preparation: Preparation;
  #turn: Promise<unknown> = Promise.resolve();
  #vacate = (): void => {};
  #stopped: Promise<void> | undefined;

  constructor(config: KernelConfig, options: KernelOptions, signal: AbortSignal) {
    this.#options = options;
    this.#log = options.log ?? pino({ level: 'silent' });
    this.#signal = AbortSignal.any([signal, this.#stopping.signal]);
    this.#preparation = new Preparation({ ...config, plugins: {} }, options);
    this.report = { plugins: () => this.#preparation.inOrder().map(statusOf) };
    this.#registry.offer(PluginReport, 'kernel', this.report);
  }

  get<T>(token: Token<T, 'one'>): T;
  get<T>(token: Token<T, 'many'>): ReadonlyMap<string, T>;
  get<T>(token: Token<T>): T | ReadonlyMap<string, T> {
    return this.#registry.get(token);
  }

  async start(preparation: Preparation): Promise<void> {
    this.#vacate = occupy(preparation.config);
    try {
      await this.#change(preparation, (entry) => preparation.isRequired(entry));
    } catch (error) {
      await this.#stop();
      throw error;
    }
  }

  reload(config: KernelConfig, preparing: Preparing = {}): Promise<Change> {
    const turn = this.#turn.then(() => this.#reload(config, { ...this.#options, ...preparing }));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  advertise(id: string, { capabilities = [], exports = {}, platforms = [] }: Advertisement): void {
    const entry = this.#preparation.inOrder().find((candidate) => candidate.id === id);
    if (entry === undefined) return;
    entry.facts = {
      capabilities: [...new Set([...entry.facts.capabilities, ...capabilities])],
      exports: { ...entry.facts.exports, ...exports },
      platforms: [...new Set([...entry.facts.platforms, ...platforms])],
    };
  }

  stop(): Promise<void> {
    this.#stopping.abort();
    this.#stopped ??= this.#turn.then(async () => {
      const problems = await this.#stop();
      if (problems.length > 0) throw new KernelError('INTERNAL', 'stopping', problems);
    });
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #reload(config: KernelConfig, preparing: Preparing): Promise<Change> {
    const { config: old, given } = this.#preparation;
    const next = await prepared({ ...config, root: old.root, state: old.state }, preparing);
    const back = await prepared(old, given);
    const ran = new Set(this.#running.keys());
    try {
      const runs = ({ id, verdict }: Entry) => ran.has(id) && verdict?.outcome !== 'disabled';
      return await this.#change(next, (entry) => runs(entry) || next.isRequired(entry));
    } catch (error) {
      this.#log.error({ err: error }, 'the new configuration does not run; restoring the old one');
      if (!this.#signal.aborted) await this.#change(back, () => false);
      throw error;
    }
  }

  /** From what runs to what is prepared. */
  async #change(next: Preparation, required: (entry: Entry) => boolean): Promise<Change> {
    const lost = next.inOrder().find((entry) => entry.verdict?.outcome === 'error' && required(entry));
    if (lost) throw new KernelError('FAILED_PRECONDITION', 'starting', [unmet(lost)]);
    const kept = next.adopt(this.#preparation);
    const stopped = this.#runningSteps().filter(({ id }) => !kept.has(id));
    this.#preparation = next;
    const released = await this.#release(stopped);
    for (const name of next.strangers()) this.#log.warn(`disabled_plugins names "${name}", which is unknown`);
    const entries = next.inOrder().filter(({ id }) => !kept.has(id));
    for (const entry of entries) await this.#startNext(entry, required);
    const started = entries.map(({ id }) => id).filter((id) => this.#running.has(id));
    const problems = [...released, ...next.failures()].map(({ message }) => message);
    return { stopped: stopped.map(({ id }) => id), started, problems };
  }

  /** Providers last. */
  #runningSteps(): Step[] {
    return this.#preparation.steps.filter(({ id }) => this.#running.has(id)).reverse();
  }

  async #startNext(entry: Entry, required: (entry: Entry) => boolean): Promise<void> {
    if (this.#signal.aborted) throw canceled('starting: stopped before all plugins had started');
    const verdict = entry.verdict ?? this.#preparation.blocked(entry) ?? (await this.#startPlugin(entry));
    entry.verdict = verdict;
    const { outcome, reason, problem: trouble } = verdict;
    const facts = { plugin: entry.id, outcome, millis: Math.round(entry.startMillis), reason };
    if (outcome !== 'error') this.#log[outcome === 'ok' ? 'debug' : 'info'](facts, `plugin ${outcome}`);
    else this.#log.error({ ...facts, situation: trouble?.situation, err: trouble?.cause }, 'plugin failed');
    if (outcome === 'ok' || !required(entry)) return;
    throw new KernelError('FAILED_PRECONDITION', 'starting', [unmet(entry)]);
  }

  async #startPlugin(entry: Entry): Promise<Verdict> {
    const { id, definition } = entry;
    if (definition === undefined) throw new Error(`plugin "${id}" was never imported`);
    const { plugin } = definition;
    const log = this.#log.child({ plugin: id });
    const releases = new Releases(id, log);
    const begin = performance.now();
    const started = await startPlugin({
      plugin,
      directories: this.#preparation.config,
      config: entry.section,
      deps: this.#registry.resolve(plugin.requires),
      log,
      releases,
      stopping: this.#signal,
      deadline: millis(entry.settings.start_deadline),
      advertise: (facts) => this.advertise(id, facts),
    });
    entry.startMillis = performance.now() - begin;
    const { offered } = started;
    if (offered === undefined) {
      await releases.run(millis(entry.settings.stop_deadline));
      return started;
    }
    this.#running.set(id, { entry, releases });
    for (const [name, token] of Object.entries<Tokens[string]>(plugin.provides)) {
      this.#registry.offer(token, plugin.wire.id, offered[name]);
      releases.add(() => this.#registry.withdraw(token, plugin.wire.id));
    }
    return { outcome: 'ok' };
  }

  async #stop(): Promise<readonly Problem[]> {
    const problems = await this.#release(this.#runningSteps());
    this.#vacate();
    return problems;
  }

  /** What the releases complain of is in the log already. */
  async #release(steps: readonly Step[]): Promise<readonly Problem[]> {
    const problems: Problem[] = [];
    for (const { id } of steps) {
      const { entry, releases } = this.#running.get(id) ?? {};
      problems.push(...((await releases?.run(millis(entry?.settings.stop_deadline))) ?? []));
      this.#running.delete(id);
    }
    return problems;
  }
}
