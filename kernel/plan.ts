/** The order in which plugins start, and who cannot. Pure: nothing is imported or started here. */
import type { Definition } from './discover.js';
import { type Problem, problem } from './errors.js';
import { type Plugin, PluginReport, type Tokens } from './plugin.js';
import type { Arity, Token } from './token.js';

export interface Step extends Definition {
  /** Plugins that must have started before, whatever they came to. */
  readonly after: readonly Edge[];
}

export interface Edge {
  readonly token: AnyToken;
  readonly provider: string;
}

/** A `one` that no plugin of the plan provides. */
export interface Hole {
  readonly plugin: string;
  readonly token: AnyToken;
}

export interface Plan {
  /** Providers before those who require them, who provides nothing (a server, say) last; otherwise in the order given. */
  readonly steps: readonly Step[];
  readonly holes: readonly Hole[];
  /** Plugins that cannot start, by their id: what clashes with one before it, or closes a loop. */
  readonly refused: ReadonlyMap<string, Problem>;
}

// biome-ignore lint/suspicious/noExplicitAny: a token of any service
type AnyToken = Token<any, Arity>;

export const tokensOf = (tokens: Tokens): readonly AnyToken[] => Object.values(tokens);

export const wireUri = ({ plugin }: Definition): string => `${plugin.wire.type}.${plugin.wire.id}`;

/** What the plugins so far have taken, each by its name in messages. */
class Claims {
  readonly #wires = new Map<string, string>();
  readonly #singles = new Map([[PluginReport.id, 'the kernel']]);
  readonly #arities = new Map<string, { arity: Arity; by: string }>([
    [PluginReport.id, { arity: 'one', by: 'the kernel' }],
  ]);

  /** Takes what the plugin needs; a problem when some of it is taken already. */
  take(definition: Definition): Problem | undefined {
    const { id, source, plugin } = definition;
    const by = `"${id}" (${source})`;
    const [uri, singles] = [wireUri(definition), tokensOf(plugin.provides).filter(({ arity }) => arity === 'one')];
    const twin = this.#wires.get(uri);
    if (twin) return problem('KEELSON_DUPLICATE_WIRE', `${by} and ${twin} are both "${uri}" on the wire; ${DISABLE}`);
    for (const token of singles) {
      const other = this.#singles.get(token.id);
      if (other)
        return problem('KEELSON_DUPLICATE_PROVIDER', `${by} and ${other} both provide "${token.id}"; ${DISABLE}`);
    }
    const tokens = [...tokensOf(plugin.provides), ...tokensOf(plugin.requires)];
    for (const { id: name, arity } of tokens) {
      const known = this.#arities.get(name);
      if (known === undefined || known.arity === arity) continue;
      const clash = `"${name}" is '${arity}' to ${by} and '${known.arity}' to ${known.by}`;
      return problem('KEELSON_ARITY', `${clash}; they were built against different contracts: update one`);
    }
    this.#wires.set(uri, by);
    for (const token of singles) this.#singles.set(token.id, by);
    for (const { id: name, arity } of tokens) this.#arities.set(name, { arity, by });
    return undefined;
  }
}

const DISABLE = 'disable one of them';

/** Everything wrong between the plugins, or the order to start them in. */
export function plan(definitions: readonly Definition[]): Plan {
  const claims = new Claims();
  const refused = new Map<string, Problem>();
  for (const definition of definitions) {
    const clash = claims.take(definition);
    if (clash) refused.set(definition.id, clash);
  }
  const provides = ({ plugin }: Definition): number => Math.min(tokensOf(plugin.provides).length, 1);
  const sound = definitions.filter(({ id }) => !refused.has(id)).sort((a, b) => provides(b) - provides(a));
  const providers = new Map<string, string[]>([[PluginReport.id, []]]);
  for (const { id, plugin } of sound)
    for (const token of tokensOf(plugin.provides)) providers.set(token.id, [...(providers.get(token.id) ?? []), id]);

  // One that adds to a `many` may use what the others put there: it does not wait for itself.
  const edgesOf = ({ id, plugin }: Definition): Edge[] =>
    tokensOf(plugin.requires).flatMap((token) =>
      (providers.get(token.id) ?? [])
        .filter((provider) => provider !== id || token.arity === 'one')
        .map((provider) => ({ token, provider })),
    );
  const holes = sound.flatMap(({ id, plugin }) =>
    tokensOf(plugin.requires)
      .filter((token) => token.arity === 'one' && !providers.has(token.id))
      .map((token) => ({ plugin: id, token })),
  );
  const steps = sort(
    sound.map((definition) => ({ ...definition, after: edgesOf(definition) })),
    refused,
  );
  return { steps, holes, refused };
}

type Link = { readonly step: Step; readonly edge: Edge };

/** Depth-first, so that a loop is met with its whole path in hand; who was configured last of it is refused. */
function sort(nodes: readonly Step[], refused: Map<string, Problem>): readonly Step[] {
  const sound = nodes.filter(({ id }) => !refused.has(id));
  const byId = new Map(sound.map((node) => [node.id, node]));
  const steps = new Set<Step>();
  const visit = (step: Step, path: readonly Link[]): readonly Link[] | undefined => {
    const start = path.findIndex((link) => link.step === step);
    if (start >= 0) return path.slice(start);
    if (steps.has(step)) return undefined;
    for (const edge of step.after) {
      const provider = byId.get(edge.provider);
      const cycle = provider && visit(provider, [...path, { step, edge }]);
      if (cycle) return cycle;
    }
    steps.add(step);
    return undefined;
  };
  for (const node of sound) {
    const cycle = visit(node, []);
    const last = cycle && sound.findLast((step) => cycle.some((link) => link.step === step));
    if (last) return sort(nodes, refused.set(last.id, problem('KEELSON_CYCLE', wordCycle(cycle, last.id))));
  }
  return [...steps];
}

const wordCycle = (links: readonly Link[], last: string): string => {
  const chain = links.map(({ step, edge }) => `"${step.id}" needs "${edge.token.id}" of "${edge.provider}"`);
  return `plugins wait for each other: ${chain.join(', ')}; "${last}", configured last of them, must do without`;
};

type Of<M> = M extends Tokens ? M[keyof M] : never;
/** The tokens that a set lacks. A `many` without a provider is an empty map, and the report is the kernel's own. */
export type Missing<S extends readonly Plugin[]> = Exclude<
  // biome-ignore lint/suspicious/noExplicitAny: only the arity is being matched
  Extract<Of<S[number]['requires']>, Token<any, 'one'>>,
  Of<S[number]['provides']> | typeof PluginReport
>;
