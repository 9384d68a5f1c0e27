/** A configuration as a tree that remembers, for every key and value, which file it came from. */
import type { KeyPath } from '../kernel/config.js';

export interface Origin {
  readonly document: Positioned;
  /** Where it stands in that document. */
  readonly path: KeyPath;
}

/** A source of configuration: a file, or the command line. */
export interface Positioned {
  readonly name: string;
  /** `file:line:column` of a key or of its value; of the nearest table around it when it is not there itself. */
  position(path: KeyPath, at: 'key' | 'value'): Promise<string>;
}

export type Tree =
  | { readonly kind: 'leaf'; readonly origin: Origin; readonly value: unknown }
  | { readonly kind: 'list'; readonly origin: Origin; readonly items: readonly Tree[] }
  | { readonly kind: 'table'; readonly origin: Origin; readonly entries: ReadonlyMap<string, Tree> };

export type Table = Extract<Tree, { kind: 'table' }>;

const isTable = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !(value instanceof Date);

export function growTree(value: unknown, document: Positioned, path: KeyPath = []): Tree {
  const origin = { document, path };
  if (Array.isArray(value))
    return { kind: 'list', origin, items: value.map((item, index) => growTree(item, document, [...path, index])) };
  if (!isTable(value)) return { kind: 'leaf', origin, value };
  const entries = Object.entries(value).map(
    ([key, inner]) => [key, growTree(inner, document, [...path, key])] as const,
  );
  return { kind: 'table', origin, entries: new Map(entries) };
}

/** Plain data. Every key becomes an own property, `__proto__` too. */
export function toValue(tree: Tree): unknown {
  if (tree.kind === 'leaf') return tree.value;
  if (tree.kind === 'list') return tree.items.map(toValue);
  return Object.fromEntries([...tree.entries].map(([key, inner]) => [key, toValue(inner)]));
}

export const emptyTable = (document: Positioned): Table => ({
  kind: 'table',
  origin: { document, path: [] },
  entries: new Map(),
});

export function child(tree: Tree | undefined, key: PropertyKey): Tree | undefined {
  if (tree?.kind === 'table') return tree.entries.get(String(key));
  return tree?.kind === 'list' ? tree.items[Number(key)] : undefined;
}

export const childAt = (tree: Tree | undefined, path: KeyPath): Tree | undefined => path.reduce(child, tree);

/** The tree with one more key; tables on the way to it are made. */
export function withChild(tree: Table, path: KeyPath, inner: Tree): Table {
  const [first, ...rest] = path;
  if (first === undefined) return tree;
  const key = String(first);
  const below = tree.entries.get(key);
  const table: Table = below?.kind === 'table' ? below : { kind: 'table', origin: inner.origin, entries: new Map() };
  const added = rest.length === 0 ? inner : withChild(table, rest, inner);
  return { ...tree, entries: new Map([...tree.entries, [key, added]]) };
}

/** The tree without one key. */
export function withoutChild(tree: Table, path: KeyPath): Table {
  const [first, ...rest] = path;
  const entries = new Map(tree.entries);
  const below = entries.get(String(first));
  if (rest.length > 0 && below?.kind === 'table') entries.set(String(first), withoutChild(below, rest));
  else entries.delete(String(first));
  return { ...tree, entries };
}

/**
 * `over` laid onto `under`: tables merge key by key, lists are united (what is
 * new goes to the end), anything else is replaced.
 */
export function merge(under: Tree, over: Tree): Tree {
  if (under.kind === 'table' && over.kind === 'table') return mergeTables(under, over);
  if (under.kind !== 'list' || over.kind !== 'list') return over;
  const known = new Set(under.items.map((item) => JSON.stringify(toValue(item))));
  const fresh = over.items.filter((item) => !known.has(JSON.stringify(toValue(item))));
  return { kind: 'list', origin: over.origin, items: [...under.items, ...fresh] };
}

export function mergeTables(under: Table, over: Table): Table {
  const entries = new Map(under.entries);
  for (const [key, inner] of over.entries) {
    const below = entries.get(key);
    entries.set(key, below === undefined ? inner : merge(below, inner));
  }
  return { kind: 'table', origin: over.origin, entries };
}

/** Where the key or value at `path` was written; for one that was not, where the table around it was. */
export async function locateIn(tree: Tree, path: KeyPath, at: 'key' | 'value'): Promise<string | undefined> {
  const found = childAt(tree, path);
  if (found !== undefined) return found.origin.document.position(found.origin.path, at);
  for (let length = path.length - 1; length > 0; length--) {
    const around = childAt(tree, path.slice(0, length));
    if (around !== undefined) return around.origin.document.position(around.origin.path, 'key');
  }
  return undefined;
}
