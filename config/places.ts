/** Where in a text each key and each value stands, found by parsers that keep positions. */
import { type AST, parseTOML } from 'toml-eslint-parser';
import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { KeyPath } from '../kernel/config.js';
import type { Format } from './document.js';

/** Both counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface Place {
  readonly key: Position;
  readonly value: Position;
}

/** By key path as JSON. */
export type Places = ReadonlyMap<string, Place>;

/** Writes down each path once: the first mention of a table is its place. */
class Finder {
  readonly places = new Map<string, Place>();

  note(path: KeyPath, key: Position, value: Position): void {
    const name = JSON.stringify(path);
    if (!this.places.has(name)) this.places.set(name, { key, value });
  }
}

const startOf = ({ loc }: { readonly loc: AST.SourceLocation }): Position => ({
  line: loc.start.line,
  column: loc.start.column + 1,
});

const nameOf = (key: AST.TOMLBare | AST.TOMLQuoted): string => (key.type === 'TOMLBare' ? key.name : key.value);

class TomlFinder extends Finder {
  visit(text: string): Places {
    const [top] = parseTOML(text).body;
    for (const node of top.body)
      if (node.type === 'TOMLKeyValue') this.#pair([], node);
      else this.#table(node);
    return this.places;
  }

  #table(table: AST.TOMLTable): void {
    const path = table.resolvedKey;
    // The header spells the keys but not the indexes of arrays of tables.
    let spelled = 0;
    path.forEach((key, index) => {
      const token = table.key.keys[Math.min(spelled, table.key.keys.length - 1)];
      if (typeof key === 'string') spelled += 1;
      if (token !== undefined) this.note(path.slice(0, index + 1), startOf(token), startOf(token));
    });
    for (const pair of table.body) this.#pair(path, pair);
  }

  #pair(table: KeyPath, { key, value }: AST.TOMLKeyValue): void {
    const names = key.keys.map(nameOf);
    key.keys.forEach((token, index) => {
      const last = index === key.keys.length - 1;
      this.note([...table, ...names.slice(0, index + 1)], startOf(token), startOf(last ? value : token));
    });
    this.#value([...table, ...names], value);
  }

  #value(path: KeyPath, value: AST.TOMLContentNode): void {
    if (value.type === 'TOMLInlineTable') for (const pair of value.body) this.#pair(path, pair);
    if (value.type !== 'TOMLArray') return;
    value.elements.forEach((element, index) => {
      this.note([...path, index], startOf(element), startOf(element));
      this.#value([...path, index], element);
    });
  }
}

/** JSON is read as the YAML that it is. */
class YamlFinder extends Finder {
  readonly #lines = new LineCounter();

  visit(text: string): Places {
    this.#node([], parseDocument(text, { lineCounter: this.#lines, uniqueKeys: false }).contents);
    return this.places;
  }

  #start(node: Node | null): Position {
    const { line, col } = this.#lines.linePos(node?.range?.[0] ?? 0);
    return { line, column: col };
  }

  #node(path: KeyPath, node: unknown): void {
    if (isMap<Node, Node | null>(node))
      for (const pair of node.items) {
        if (!isPair(pair) || !isScalar(pair.key)) continue;
        const inner = [...path, String(pair.key.value)];
        this.note(inner, this.#start(pair.key), this.#start(pair.value ?? pair.key));
        this.#node(inner, pair.value);
      }
    if (isSeq<Node>(node))
      node.items.forEach((item, index) => {
        this.note([...path, index], this.#start(item), this.#start(item));
        this.#node([...path, index], item);
      });
  }
}

export const findPlaces = (format: Format, text: string): Places =>
  format === 'toml' ? new TomlFinder().visit(text) : new YamlFinder().visit(text);
