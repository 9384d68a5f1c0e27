/** The order in which plugins start, or everything that forbids one. Pure: nothing is imported or started here. */
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
  /** Providers before those who require them; otherwise in the order given. */
  readonly steps: readonly Step[];
  readonly holes: readonly Hole[];
  readonly problems: readonly Problem[];
}

// biome-ignore lint/suspicious/noExplicitAny: a token of any service
type AnyToken = Token<any, Arity>;

export const tokensOf = (tokens: Tokens): readonly AnyToken[] => Object.values(tokens);

export const wireUri = ({ plugin }: Definition): string => `${plugin.wire.type}.${plugin.wire.id}`;

const quoted = (definitions: readonly Definition[]): string =>
  definitions.map(({ id, source }) => `"${id}" (${source})`).join(' and ');

/** Groups of more than one. */
const shared = (definitions: readonly Definition[], key: (definition: Definition) => readonly string[]) => {
  const groups = new Map<string, Definition[]>();
  for (const definition of definitions)
    for (const name of key(definition)) groups.set(name, [...(groups.get(name) ?? []), definition]);
  return [...groups].filter(([, group]) => group.length > 1);
};

const duplicateWires = (definitions: readonly Definition[]): Problem[] =>
  shared(definitions, (definition) => [wireUri(definition)]).map(([uri, group]) =>
    problem('KEELSON_DUPLICATE_WIRE', `${quoted(group)} are all "${uri}" on the wire; disable all but one`),
  );

function duplicateProviders(definitions: readonly Definition[]): Problem[] {
  const singles = ({ plugin }: Definition) =>
    tokensOf(plugin.provides).flatMap(({ id, arity }) => (arity === 'one' ? [id] : []));
  const plugins = shared(definitions, singles).map(([id, group]) =>
    problem('KEELSON_DUPLICATE_PROVIDER', `${quoted(group)} all provide "${id}"; disable all but one`),
  );
  const usurpers = definitions
    .filter((definition) => singles(definition).includes(PluginReport.id))
    .map((usurper) =>
      problem(
        'KEELSON_DUPLICATE_PROVIDER',
        `${quoted([usurper])} provides "${PluginReport.id}", which is the kernel's`,
      ),
    );
  return [...plugins, ...usurpers];
}

function differingArities(definitions: readonly Definition[]): Problem[] {
  const first = new Map<string, { arity: Arity; by: string }>([[PluginReport.id, { arity: 'one', by: 'the kernel' }]]);
  return definitions.flatMap(({ id, plugin }) =>
    [...tokensOf(plugin.provides), ...tokensOf(plugin.requires)].flatMap((token) => {
      const known = first.get(token.id);
      if (known === undefined) first.set(token.id, { arity: token.arity, by: `"${id}"` });
      if (known === undefined || known.arity === token.arity) return [];
      const clash = `"${token.id}" is '${token.arity}' to "${id}" and '${known.arity}' to ${known.by}`;
      return [problem('KEELSON_ARITY', `${clash}; they were built against different contracts: update one`)];
    }),
  );
}

/** Everything wrong between the plugins, or the order to start them in. */
export function plan(definitions: readonly Definition[]): Plan {
  const providers = new Map<string, string[]>();
  for (const { id, plugin } of definitions)
    for (const token of tokensOf(plugin.provides)) providers.set(token.id, [...(providers.get(token.id) ?? []), id]);

  const edgesOf = ({ plugin }: Definition): Edge[] =>
    tokensOf(plugin.requires).flatMap((token) =>
      (providers.get(token.id) ?? []).map((provider) => ({ token, provider })),
    );
  const holes = definitions.flatMap(({ id, plugin }) =>
    tokensOf(plugin.requires)
      .filter((token) => token.arity === 'one' && token.id !== PluginReport.id && !providers.has(token.id))
      .map((token) => ({ plugin: id, token })),
  );
  const { steps, cycles } = sort(definitions.map((definition) => ({ ...definition, after: edgesOf(definition) })));
  const problems = [
    ...duplicateWires(definitions),
    ...duplicateProviders(definitions),
    ...differingArities(definitions),
    ...cycles,
  ];
  return { steps, holes, problems };
}

/** Depth-first, so that a loop is met with its whole path in hand. */
function sort(nodes: readonly Step[]): { steps: readonly Step[]; cycles: readonly Problem[] } {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const done = new Set<string>();
  const steps: Step[] = [];
  const cycles: Problem[] = [];
  const path: { readonly step: Step; readonly edge: Edge }[] = [];

  const visit = (step: Step): void => {
    const start = path.findIndex((link) => link.step.id === step.id);
    if (start >= 0) {
      cycles.push(problem('KEELSON_CYCLE', wordCycle(path.slice(start))));
      return;
    }
    if (done.has(step.id)) return;
    for (const edge of step.after) {
      const provider = byId.get(edge.provider);
      if (provider === undefined) continue;
      path.push({ step, edge });
      visit(provider);
      path.pop();
    }
    done.add(step.id);
    steps.push(step);
  };
  for (const node of nodes) visit(node);
  return { steps, cycles };
}

const wordCycle = (links: readonly { readonly step: Step; readonly edge: Edge }[]): string => {
  const chain = links.map(({ step, edge }) => `"${step.id}" needs "${edge.token.id}" of "${edge.provider}"`);
  return `plugins wait for each other: ${chain.join(', ')}; one of them must do without`;
};

type Of<M> = M extends Tokens ? M[keyof M] : never;
/** The tokens that a set lacks. A `many` without a provider is an empty map, and the report is the kernel's own. */
export type Missing<S extends readonly Plugin[]> = Exclude<
  // biome-ignore lint/suspicious/noExplicitAny: only the arity is being matched
  Extract<Of<S[number]['requires']>, Token<any, 'one'>>,
  Of<S[number]['provides']> | typeof PluginReport
>;

/**
 * Returns the plugins as they are, when at compile time nothing they require is
 * missing among them. A set with a hole does not compile, and the compiler
 * names the service: `nobodyProvides: Token<ContentStore, "one">`.
 */
export const complete = <const S extends readonly Plugin[]>(
  ...set: [Missing<S>] extends [never] ? S : [{ nobodyProvides: Missing<S> }]
): readonly unknown[] => set;
