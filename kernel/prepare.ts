/** What is known of the configured plugins before any of them starts: all imported, planned and validated. */
import { didYouMean, type KernelConfig, type Locate, type PluginEntry, place, validate } from './config.js';
import { type Definition, discover, type Manifest, type Sources, sourceOf, unknownPlugin } from './discover.js';
import { type Problem, problem } from './errors.js';
import { type Hole, plan, type Step, tokensOf, wireUri } from './plan.js';
import type { Advertisement, Outcome, PluginStatus } from './plugin.js';

export interface Preparing {
  /** Plugins that the configuration may name without a package or path. */
  readonly builtins?: Manifest;
  /** Tells where a configuration key was written. */
  readonly locate?: Locate;
  /** Directories from which plugin packages are resolved, before the kernel's own place. */
  readonly packagesFrom?: readonly string[];
}

/** One configured plugin through its life. */
export interface Entry {
  readonly id: string;
  readonly settings: PluginEntry;
  definition?: Definition;
  verdict?: Verdict;
  /** The validated section. */
  section?: unknown;
  startMillis: number;
  requires: readonly string[];
  facts: Required<Advertisement>;
}

export interface Verdict {
  readonly outcome: Outcome;
  /** Present for every outcome but `ok`. */
  readonly reason?: string;
  readonly problem?: Problem;
}

const namesOf = ({ id, definition }: Entry): readonly string[] => (definition ? [id, wireUri(definition)] : [id]);

const entryOf = (id: string, settings: PluginEntry): Entry => ({
  id,
  settings,
  startMillis: 0,
  requires: [],
  facts: { capabilities: [], exports: {}, platforms: [] },
});

export const statusOf = ({ id, settings, definition, verdict, startMillis, requires, facts }: Entry): PluginStatus => ({
  id,
  wire: definition?.plugin.wire,
  outcome: verdict?.outcome,
  ...(verdict?.reason === undefined ? {} : { reason: verdict.reason }),
  startMillis,
  ...facts,
  requires,
  source: sourceOf(settings),
});

const nobody: Locate = async () => undefined;

export class Preparation {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly #config: KernelConfig;
  readonly #locate: Locate;
  readonly #sources: Sources;
  #steps: readonly Step[] = [];

  constructor(config: KernelConfig, { builtins = {}, locate = nobody, packagesFrom = [] }: Preparing) {
    this.#config = config;
    this.#locate = locate;
    this.#sources = { builtins, packagesFrom };
    this.entries = new Map(Object.entries(config.plugins).map(([id, settings]) => [id, entryOf(id, settings)]));
  }

  entry(id: string): Entry {
    const entry = this.entries.get(id);
    if (entry === undefined) throw new Error(`plugin "${id}" is not configured`);
    return entry;
  }

  /** The plugins that can start in the order they do, then the others. */
  inOrder(): readonly Entry[] {
    return [...new Set([...this.#steps.map(({ id }) => this.entry(id)), ...this.entries.values()])];
  }

  /** Wire types of the plugins it comes after, each once. */
  wireTypes({ after }: Step): readonly string[] {
    const types = after.flatMap(({ provider }) => this.entry(provider).definition?.plugin.wire.type ?? []);
    return [...new Set(types)];
  }

  /** Why plugins could not be imported; no reason not to start the others. */
  failures(): readonly Problem[] {
    return [...this.entries.values()].flatMap(({ definition, verdict }) =>
      definition ? [] : (verdict?.problem ?? []),
    );
  }

  isRequired(entry: Entry): boolean {
    const listed = this.#config.required_plugins ?? [];
    return entry.settings.required === true || namesOf(entry).some((name) => listed.includes(name));
  }

  /** Names in `disabled_plugins` that no plugin has. Harmless, but worth a word. */
  strangers(): readonly string[] {
    const known = [...this.entries.values()].flatMap(namesOf);
    return (this.#config.disabled_plugins ?? []).filter((name) => !known.includes(name));
  }

  /** Imports, plans and validates; the problems are all there are, the steps good only without any. */
  async run(): Promise<{ readonly steps: readonly Step[]; readonly problems: readonly Problem[] }> {
    const unknown = await Promise.all([...this.entries.values()].map((entry) => this.#checkName(entry)));
    await Promise.all(this.#live().map((entry) => this.#import(entry)));
    for (const entry of this.#live()) if (this.#isDisabled(entry)) entry.verdict = DISABLED;
    const live = this.#live();
    const { steps, holes, problems } = plan(live.flatMap(({ definition }) => definition ?? []));
    const missing: Problem[] = [];
    for (const hole of holes) missing.push(...(await this.#explain(hole)));
    const required = await this.#unmetRequirements();
    const invalid = await Promise.all(live.map((entry) => this.#validate(entry)));
    this.#steps = steps;
    return { steps, problems: [unknown, problems, missing, required, invalid].flat(2) };
  }

  #live(): Entry[] {
    return [...this.entries.values()].filter(({ verdict }) => verdict === undefined);
  }

  #isDisabled(entry: Entry): boolean {
    const listed = this.#config.disabled_plugins ?? [];
    return entry.settings.enabled === false || namesOf(entry).some((name) => listed.includes(name));
  }

  async #checkName(entry: Entry): Promise<Problem[]> {
    if (this.#isDisabled(entry)) entry.verdict = DISABLED;
    const trouble = unknownPlugin(entry.id, entry.settings, this.#sources.builtins);
    if (trouble === undefined) return [];
    const message = `${await place(this.#locate, ['plugins', entry.id], 'key')}: ${trouble}`;
    entry.verdict = { outcome: 'error', reason: message };
    return [problem('KEELSON_UNKNOWN_PLUGIN', message)];
  }

  /** Finds the plugin's definition. What is wrong with a disabled one is nobody's business. */
  async #import(entry: Entry): Promise<void> {
    const found = await discover(entry.id, entry.settings, this.#sources);
    if ('definition' in found) entry.definition = found.definition;
    else entry.verdict ??= { outcome: 'error', reason: found.failure.message, problem: found.failure };
  }

  /** A hole is a problem, unless a plugin that is disabled or failed to import accounts for it. */
  async #explain({ plugin, token }: Hole): Promise<Problem[]> {
    const entries = [...this.entries.values()];
    const disabled = entries.filter(({ verdict }) => verdict === DISABLED);
    await Promise.all(disabled.filter(({ definition }) => !definition).map((entry) => this.#import(entry)));
    const owner = disabled.find(({ definition }) => definition && provides(definition, token.id));
    const failed = entries.find(({ definition, verdict }) => !definition && verdict?.problem);
    const entry = this.entries.get(plugin);
    const needs = `plugin "${plugin}" needs "${token.id}"`;
    if (entry && owner) {
      entry.verdict = { outcome: 'disabled', reason: `${needs} of "${owner.id}", which is disabled` };
      return [];
    }
    if (entry && failed) {
      const reason = `${needs}, which no plugin provides; perhaps "${failed.id}" would, but: ${failed.verdict?.reason}`;
      entry.verdict = { outcome: 'error', reason, problem: problem('KEELSON_DEPENDENCY', reason) };
      return [];
    }
    return [problem('KEELSON_MISSING', `${needs}, which no plugin provides; add one that does to the configuration`)];
  }

  async #unmetRequirements(): Promise<Problem[]> {
    const entries = [...this.entries.values()];
    const known = entries.flatMap(namesOf);
    const strangers = (this.#config.required_plugins ?? []).map(async (name, index) => {
      if (known.includes(name)) return [];
      const at = await place(this.#locate, ['required_plugins', index], 'value');
      const expected = `expected a configured plugin${didYouMean(name, known)}`;
      return [problem('KEELSON_UNKNOWN_PLUGIN', `${at}: found "${name}", ${expected}`)];
    });
    const hopeless = entries.flatMap((entry) => (entry.verdict && this.isRequired(entry) ? [unmet(entry)] : []));
    return [...(await Promise.all(strangers)).flat(), ...hopeless];
  }

  async #validate(entry: Entry): Promise<readonly Problem[]> {
    if (entry.definition === undefined) return [];
    const value = entry.settings.config ?? {};
    const schema = entry.definition.plugin.config;
    const result = await validate({ schema, value, path: ['plugins', entry.id, 'config'] }, this.#locate);
    if (result.problems !== undefined) return result.problems;
    entry.section = result.value;
    return [];
  }
}

const DISABLED: Verdict = { outcome: 'disabled', reason: 'disabled by configuration' };

const provides = ({ plugin }: Definition, tokenId: string): boolean =>
  tokensOf(plugin.provides).some((token) => token.id === tokenId);

/** What a required plugin that is not `ok` makes of the start. */
export const unmet = ({ id, verdict }: Entry): Problem =>
  problem(
    'KEELSON_REQUIRED',
    `required plugin "${id}" ended as ${verdict?.outcome}: ${verdict?.reason}`,
    verdict?.problem?.cause,
  );
