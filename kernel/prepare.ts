/** What is known of the configured plugins before any of them starts: all imported, planned and validated. */
import { isDeepStrictEqual } from 'node:util';
import { didYouMean, type KernelConfig, type Locate, type PluginEntry, place, validate } from './config.js';
import { type Definition, discover, type Sources, sourceOf, unknownPlugin } from './discover.js';
import { type Problem, problem } from './errors.js';
import { type Edge, type Hole, plan, type Step, tokensOf, wireUri } from './plan.js';
import type { Advertisement, PluginStatus } from './plugin.js';
import type { Verdict } from './start.js';

export interface Preparing extends Partial<Sources> {
  /** Tells where a configuration key was written. */
  readonly locate?: Locate;
}

/** One configured plugin through its life. */
export interface Entry {
  readonly id: string;
  settings: PluginEntry;
  definition?: Definition;
  verdict?: Verdict;
  /** The validated section. */
  section?: unknown;
  startMillis: number;
  /** Plugins that must have started before. */
  after: readonly Edge[];
  /** Their wire types, each once. */
  requires: readonly string[];
  facts: Required<Advertisement>;
}

const namesOf = ({ id, definition }: Entry): readonly string[] => (definition ? [id, wireUri(definition)] : [id]);

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

export class Preparation {
  readonly config: KernelConfig;
  readonly given: Preparing;
  readonly #locate: Locate;
  readonly #sources: Sources;
  readonly #entries = new Map<string, Entry>();
  #steps: readonly Step[] = [];

  constructor(config: KernelConfig, given: Preparing) {
    this.config = config;
    this.given = given;
    this.#locate = given.locate ?? (async () => undefined);
    this.#sources = { builtins: given.builtins ?? {}, packagesFrom: given.packagesFrom ?? [] };
    const facts = { capabilities: [], exports: {}, platforms: [] };
    for (const [id, settings] of Object.entries(config.plugins))
      this.#entries.set(id, { id, settings, startMillis: 0, after: [], requires: [], facts });
  }

  /** Providers first; some have a verdict already. */
  get steps(): readonly Step[] {
    return this.#steps;
  }

  entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new Error(`plugin "${id}" is not configured`);
    return entry;
  }

  /** The plugins that can start in the order they do, then the others. */
  inOrder(): readonly Entry[] {
    return [...new Set([...this.#steps.map(({ id }) => this.entry(id)), ...this.#entries.values()])];
  }

  /** Why plugins cannot start; no reason not to start the others. */
  failures(): readonly Problem[] {
    return [...this.#entries.values()].flatMap(({ verdict }) => verdict?.problem ?? []);
  }

  /** A plugin whose service cannot be had shares the fate of the one that should provide it. */
  blocked({ id, after }: Entry): Verdict | undefined {
    for (const { token, provider } of after) {
      const { verdict } = this.entry(provider);
      if (token.arity === 'many' || verdict === undefined || verdict.outcome === 'ok') continue;
      const reason = `plugin "${id}" needs "${token.id}" of "${provider}", which did not start: ${verdict.reason}`;
      const trouble = verdict.outcome === 'error' && { problem: problem('KEELSON_DEPENDENCY', reason) };
      return { outcome: verdict.outcome, reason, ...trouble };
    }
    return undefined;
  }

  isRequired(entry: Entry): boolean {
    const listed = this.config.required_plugins ?? [];
    return entry.settings.required === true || namesOf(entry).some((name) => listed.includes(name));
  }

  /** Names in `disabled_plugins` that no plugin has. Harmless, but worth a word. */
  strangers(): readonly string[] {
    const known = [...this.#entries.values()].flatMap(namesOf);
    return (this.config.disabled_plugins ?? []).filter((name) => !known.includes(name));
  }

  /**
   * Takes over from the preparation before what runs there and can go on: the
   * same plugin with the same settings, on the same services. The ids of these.
   */
  adopt(before: Preparation): ReadonlySet<string> {
    const kept = new Set<string>();
    for (const { id, plugin, after } of this.#steps) {
      const [now, known] = [this.entry(id), before.#entries.get(id)];
      if (now.verdict || known?.verdict?.outcome !== 'ok' || known.definition?.plugin !== plugin) continue;
      if (!isDeepStrictEqual(known.section, now.section)) continue;
      if (after.some(({ token, provider }) => token.arity === 'one' && !kept.has(provider))) continue;
      const { settings, requires } = now;
      this.#entries.set(id, Object.assign(known, { settings, after, requires }));
      kept.add(id);
    }
    return kept;
  }

  /** Imports, plans and validates; the problems are all there are, the steps good only without any. */
  async run(): Promise<readonly Problem[]> {
    const unknown = await Promise.all([...this.#entries.values()].map((entry) => this.#checkName(entry)));
    await Promise.all(this.#live().map((entry) => this.#import(entry)));
    for (const entry of this.#live()) if (this.#isDisabled(entry)) entry.verdict = DISABLED;
    const live = this.#live();
    const { steps, holes, refused } = plan(live.flatMap(({ definition }) => definition ?? []));
    for (const [id, trouble] of refused) refuse(this.entry(id), trouble);
    for (const hole of holes) await this.#explain(hole);
    for (const { id, after } of steps) {
      const types = after.flatMap(({ provider }) => this.entry(provider).definition?.plugin.wire.type ?? []);
      Object.assign(this.entry(id), { after, requires: [...new Set(types)] });
    }
    const required = await this.#unmetRequirements();
    const invalid = await Promise.all(live.map((entry) => this.#validate(entry)));
    this.#steps = steps;
    return [unknown, required, invalid].flat(2);
  }

  #live(): Entry[] {
    return [...this.#entries.values()].filter(({ verdict }) => verdict === undefined);
  }

  #isDisabled(entry: Entry): boolean {
    const listed = this.config.disabled_plugins ?? [];
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
    else if (entry.verdict === undefined) refuse(entry, found.failure);
  }

  /** A hole is an error, unless a plugin that is disabled accounts for it. */
  async #explain({ plugin, token }: Hole): Promise<void> {
    const entries = [...this.#entries.values()];
    const disabled = entries.filter(({ verdict }) => verdict === DISABLED);
    await Promise.all(disabled.filter(({ definition }) => !definition).map((entry) => this.#import(entry)));
    const offers = ({ definition }: Entry) =>
      tokensOf(definition?.plugin.provides ?? {}).some(({ id }) => id === token.id);
    const owner = disabled.find(offers);
    const failed = entries.find((entry) => entry.verdict?.problem && (!entry.definition || offers(entry)));
    const entry = this.entry(plugin);
    const needs = `plugin "${plugin}" needs "${token.id}"`;
    const nobody = `${needs}, which no plugin provides`;
    if (owner) entry.verdict = { outcome: 'disabled', reason: `${needs} of "${owner.id}", which is disabled` };
    else if (failed === undefined)
      refuse(entry, problem('KEELSON_MISSING', `${nobody}; add one that does to the configuration`));
    else {
      const perhaps = `${nobody}; perhaps "${failed.id}" would, but: ${failed.verdict?.reason}`;
      refuse(entry, problem('KEELSON_DEPENDENCY', perhaps));
    }
  }

  async #unmetRequirements(): Promise<Problem[]> {
    const entries = [...this.#entries.values()];
    const known = entries.flatMap(namesOf);
    const strangers = (this.config.required_plugins ?? []).map(async (name, index) => {
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
    entry.section = result.value;
    return result.problems;
  }
}

const refuse = (entry: Entry, trouble: Problem): void => {
  entry.verdict = { outcome: 'error', reason: trouble.message, problem: trouble };
};

const DISABLED: Verdict = { outcome: 'disabled', reason: 'disabled by configuration' };

/** What a required plugin that is not `ok` makes of the start. */
export const unmet = ({ id, verdict }: Entry): Problem =>
  problem(
    'KEELSON_REQUIRED',
    `required plugin "${id}" ended as ${verdict?.outcome}: ${verdict?.reason}`,
    verdict?.problem?.cause,
  );
