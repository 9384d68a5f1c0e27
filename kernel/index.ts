/** The kernel: checks everything, then starts one plugin after another, and stops them the other way round. */
import { type Logger, pino } from 'pino';
import { type KernelConfig, millis } from './config.js';
import { canceled, KernelError, type Problem, problem } from './errors.js';
import { type Step, tokensOf } from './plan.js';
import { type Advertisement, PluginReport, type PluginStatus, type Tokens } from './plugin.js';
import { type Entry, Preparation, type Preparing, statusOf, unmet, type Verdict } from './prepare.js';
import { Registry } from './registry.js';
import { occupy, Releases, startPlugin } from './start.js';
import type { Token } from './token.js';

export { describe, type KernelConfig, type Locate, type PluginEntry } from './config.js';
export * from './errors.js';
export { complete } from './plan.js';
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
  /** Stops every plugin, then throws one {@link KernelError} if any failed to. Idempotent. */
  stop(): Promise<void>;
}

/** One plugin's need of another. */
export interface Link {
  readonly plugin: string;
  /** Token id. */
  readonly service: string;
  readonly provider: string;
}

export interface Inspection {
  /** In start order; those that can start have no outcome yet. */
  readonly plugins: readonly PluginStatus[];
  readonly links: readonly Link[];
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
    const { steps, problems } = await preparation.run();
    const links = steps.flatMap(({ id, after }) =>
      after.map(({ token, provider }) => ({ plugin: id, service: token.id, provider })),
    );
    const plugins = preparation.inOrder().map(statusOf);
    return { plugins, links, problems: [...problems, ...preparation.failures()] };
  },
  async start(signal = new AbortController().signal) {
    const preparation = new Preparation(config, options);
    const { steps, problems } = await preparation.run();
    if (problems.length > 0) throw new KernelError('INVALID_ARGUMENT', 'checking the configuration', problems);
    const kernel = new RunningKernel(config, options.log ?? pino({ level: 'silent' }), preparation);
    await kernel.start(steps, signal);
    return kernel;
  },
});

interface Running {
  readonly entry: Entry;
  readonly step: Step;
  readonly releases: Releases;
}

class RunningKernel implements Kernel {
  readonly report: PluginReport;
  readonly #config: KernelConfig;
  readonly #log: Logger;
  readonly #preparation: Preparation;
  readonly #registry = new Registry();
  readonly #running: Running[] = [];
  #vacate = (): void => {};
  #stopped: Promise<void> | undefined;

  constructor(config: KernelConfig, log: Logger, preparation: Preparation) {
    this.#config = config;
    this.#log = log;
    this.#preparation = preparation;
    this.report = { plugins: () => preparation.inOrder().map(statusOf) };
    this.#registry.offer(PluginReport, 'kernel', this.report);
  }

  get<T>(token: Token<T, 'one'>): T;
  get<T>(token: Token<T, 'many'>): ReadonlyMap<string, T>;
  get<T>(token: Token<T>): T | ReadonlyMap<string, T> {
    return token.arity === 'one' ? this.#registry.one(token) : this.#registry.many(token);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async start(steps: readonly Step[], stopping: AbortSignal): Promise<void> {
    this.#vacate = occupy(this.#config);
    for (const name of this.#preparation.strangers())
      this.#log.warn(`disabled_plugins names "${name}", which is unknown`);
    for (const { situation, message, cause } of this.#preparation.failures())
      this.#log.error({ situation, err: cause }, message);
    try {
      for (const step of steps) await this.#startNext(step, stopping);
    } catch (error) {
      await this.#releaseAll();
      throw error;
    }
  }

  async #startNext(step: Step, stopping: AbortSignal): Promise<void> {
    if (stopping.aborted) throw canceled('starting: stopped before all plugins had started');
    const entry = this.#preparation.entry(step.id);
    entry.requires = this.#preparation.wireTypes(step);
    const verdict = entry.verdict ?? this.#blocked(step) ?? (await this.#startPlugin(step, entry, stopping));
    entry.verdict = verdict;
    const { outcome, reason, problem: trouble } = verdict;
    const facts = { plugin: step.id, outcome, millis: Math.round(entry.startMillis), reason };
    if (outcome !== 'error') this.#log.info(facts, `plugin ${outcome}`);
    else this.#log.error({ ...facts, situation: trouble?.situation, err: trouble?.cause }, 'plugin failed');
    if (outcome === 'ok' || !this.#preparation.isRequired(entry)) return;
    throw new KernelError('FAILED_PRECONDITION', 'starting', [unmet(entry)]);
  }

  /** A plugin whose service cannot be had shares the fate of the one that should provide it. */
  #blocked({ id, after }: Step): Verdict | undefined {
    for (const { token, provider } of after) {
      const { verdict } = this.#preparation.entry(provider);
      if (token.arity === 'many' || verdict === undefined || verdict.outcome === 'ok') continue;
      const reason = `plugin "${id}" needs "${token.id}" of "${provider}", which did not start: ${verdict.reason}`;
      return { outcome: verdict.outcome, reason, problem: problem('KEELSON_DEPENDENCY', reason) };
    }
    return undefined;
  }

  async #startPlugin(step: Step, entry: Entry, stopping: AbortSignal): Promise<Verdict> {
    const log = this.#log.child({ plugin: step.id });
    const releases = new Releases(step.id, log);
    const begin = performance.now();
    const started = await startPlugin({
      definition: step,
      directories: this.#config,
      config: entry.section,
      deps: this.#registry.resolve(step.plugin.requires),
      log,
      releases,
      stopping,
      deadline: millis(entry.settings.start_deadline),
      advertise: (facts) => advertise(entry, facts),
    });
    entry.startMillis = performance.now() - begin;
    if (started.outcome !== 'ok') {
      await releases.run(millis(entry.settings.stop_deadline));
      return started;
    }
    this.#running.push({ entry, step, releases });
    for (const [name, token] of Object.entries<Tokens[string]>(step.plugin.provides))
      this.#registry.offer(token, step.plugin.wire.id, started.offered[name]);
    return { outcome: 'ok' };
  }

  async #stop(): Promise<void> {
    const problems = await this.#releaseAll();
    if (problems.length > 0) throw new KernelError('INTERNAL', 'stopping', problems);
  }

  /** What the releases complain of is in the log already. */
  async #releaseAll(): Promise<readonly Problem[]> {
    const problems: Problem[] = [];
    for (const { entry, step, releases } of this.#running.splice(0).reverse()) {
      problems.push(...(await releases.run(millis(entry.settings.stop_deadline))));
      for (const token of tokensOf(step.plugin.provides)) this.#registry.withdraw(token, step.plugin.wire.id);
    }
    this.#vacate();
    return problems;
  }
}

function advertise(entry: Entry, { capabilities = [], exports = {}, platforms = [] }: Advertisement): void {
  entry.facts = {
    capabilities: [...entry.facts.capabilities, ...capabilities],
    exports: { ...entry.facts.exports, ...exports },
    platforms: [...entry.facts.platforms, ...platforms],
  };
}
