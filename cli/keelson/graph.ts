/** The dependency graph as text for people, DOT (graphviz.org) or Mermaid (mermaid.js.org). */
import type { Edge, Overview } from './overview.js';

export const GRAPHS = ['text', 'dot', 'mermaid'] as const;
export type GraphFormat = (typeof GRAPHS)[number];

const outgoing = ({ edges }: Overview, from: string): readonly Edge[] => edges.filter((edge) => edge.from === from);

function text(overview: Overview): string {
  const width = Math.max(...overview.rows.map(({ name }) => name.length));
  const lines = overview.rows.map(({ name, status }) => {
    const needs = outgoing(overview, name).map(({ to, label }) => `${to} (${label})`);
    return `${name.padEnd(width)}  ${status.padEnd(8)}  ${needs.length === 0 ? '-' : needs.join(', ')}`;
  });
  return lines.join('\n');
}

const COLOURS: Readonly<Record<string, string>> = {
  ok: 'palegreen',
  skip: 'khaki',
  error: 'salmon',
  disabled: 'lightgrey',
};

function dot({ rows, edges }: Overview): string {
  const quote = (name: string): string => JSON.stringify(name);
  const nodes = rows.map(({ name, status }) => `  ${quote(name)} [fillcolor=${COLOURS[status] ?? 'white'}];`);
  const arrows = edges.map(({ from, to, label }) => `  ${quote(from)} -> ${quote(to)} [label=${quote(label)}];`);
  return ['digraph plugins {', '  rankdir=LR;', '  node [shape=box, style=filled];', ...nodes, ...arrows, '}'].join(
    '\n',
  );
}

function mermaid({ rows, edges }: Overview): string {
  const keys = new Map(rows.map(({ name }, index) => [name, `p${index}`]));
  const nodes = rows.map(({ name, status }) => `  ${keys.get(name)}["${name} (${status})"]`);
  const arrows = edges.map(({ from, to, label }) => `  ${keys.get(from)} -->|"${label}"| ${keys.get(to)}`);
  return ['graph LR', ...nodes, ...arrows].join('\n');
}

export const drawGraph = (overview: Overview, format: GraphFormat): string =>
  `${{ text, dot, mermaid }[format](overview)}\n`;
