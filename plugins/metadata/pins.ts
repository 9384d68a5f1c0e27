import { identity, type Node } from './node.js';

/**
 * What may not be collected just now: the pins of calls under way, and during
 * a collection everything touched since it began. A collection reads the
 * database in slices while clients go on, so whatever a client creates, changes
 * or takes under a lease meanwhile is reported here and survives that run.
 */
export class Pins {
  readonly #pinned = new Map<string, { readonly node: Node; count: number }>();
  #touched: Node[] | undefined;

  /** Reports a change of that node, or of what it refers to. */
  touch(node: Node): void {
    this.#touched?.push(node);
  }

  /** Keeps a node until disposed of, however often a collection runs. */
  pin(node: Node): Disposable {
    const key = identity(node);
    const pinned = this.#pinned.get(key) ?? { node, count: 0 };
    pinned.count += 1;
    this.#pinned.set(key, pinned);
    this.touch(node);
    return {
      [Symbol.dispose]: () => {
        pinned.count -= 1;
        if (pinned.count === 0) this.#pinned.delete(key);
      },
    };
  }

  /** A collection begins: what is pinned now counts as touched. */
  beginCollection(): void {
    this.#touched = [...this.#pinned.values()].map(({ node }) => node);
  }

  /** What was touched since the last call. */
  takeTouched(): readonly Node[] {
    const touched = this.#touched ?? [];
    if (touched.length > 0) this.#touched = [];
    return touched;
  }

  endCollection(): void {
    this.#touched = undefined;
  }
}
