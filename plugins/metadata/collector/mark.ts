import type { Reader } from '../../../lib/sqlite/database.js';
import { identity, type Node } from '../node.js';
import type { Pins } from '../pins.js';
import type { Discards } from './discards.js';
import { referencesOf } from './references.js';
import type { Roots } from './roots.js';
import type { Slices } from './slices.js';

/** Nodes followed in one go where there can be no rest. */
const AT_ONCE = 100;

/**
 * Follows references from the roots, in slices, while clients go on. What they
 * touch meanwhile is followed too, however late, so at any moment when
 * {@link settle} says true, everything that is not kept was unreachable when
 * the collection began and has not been touched since.
 */
export class Marker {
  readonly #sql: Reader;
  readonly #discards: Discards;
  readonly #pins: Pins;
  readonly #slices: Slices;
  readonly #keeps: Roots['keeps'];
  /** Identities of nodes that are kept. */
  readonly #kept = new Set<string>();
  /** Of those, the ones not merely held flat. */
  readonly #whole = new Set<string>();
  readonly #pending: Node[] = [];
  readonly #roots: Iterator<Node>;

  constructor(sql: Reader, pins: Pins, slices: Slices, roots: Roots, discards: Discards) {
    this.#sql = sql;
    this.#discards = discards;
    this.#pins = pins;
    this.#slices = slices;
    this.#keeps = roots.keeps;
    this.#roots = roots.nodes.values();
  }

  isKept(node: Node): boolean {
    return this.#kept.has(identity(node));
  }

  /** Follows everything known so far. */
  async run(): Promise<void> {
    while (this.#next()) if (this.#slices.over) await this.#slices.rest();
  }

  /** Follows what was touched last; false when that is too much for one go: call {@link run} then. */
  settle(): boolean {
    for (let followed = 0; followed < AT_ONCE; followed += 1) if (!this.#next()) return true;
    return false;
  }

  #next(): boolean {
    const node = this.#pending.pop();
    if (!node) {
      const root = this.#roots.next();
      if (!root.done) {
        this.#visit(root.value);
        return true;
      }
      const touched = this.#pins.takeTouched();
      for (const each of touched) this.#revisit(each);
      return touched.length > 0;
    }
    for (const reference of referencesOf(this.#sql, node, this.#discards)) this.#visit(reference);
    if (!node.flat) for (const kept of this.#keeps.get(identity(node)) ?? []) this.#visit(kept);
    return true;
  }

  #visit(node: Node): void {
    const key = identity(node);
    const known = node.flat ? this.#kept : this.#whole;
    if (known.has(key)) return;
    this.#kept.add(key);
    if (!node.flat) this.#whole.add(key);
    this.#pending.push(node);
  }

  /** Its references may be others than when it was followed. */
  #revisit(node: Node): void {
    this.#visit(node);
    this.#pending.push(node);
  }
}
