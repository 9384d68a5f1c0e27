/**
 * What a collection must keep, said as simply as possible: the rules of containerd's
 * docs/garbage-collection.md over a handful of objects in memory. Nothing of the collector is used here.
 */

/** `content/sha256:…`, `snapshot/native/base`, `image/a`, `container/a`, `ingest/a`, `lease/a`. */
export type Name = string;

export interface Item {
  /** A snapshot's parent, an image's target, a container's snapshot: kept with it even under a flat lease. */
  readonly parts: readonly Name[];
  /** What its labels refer to. */
  readonly references: readonly Name[];
  /** Whom its labels say it belongs to. */
  readonly owners: readonly Name[];
  /** Refers to that snapshot, if that was used less than so many milliseconds ago. */
  readonly condition?: { readonly snapshot: Name; readonly within: number };
  /** For conditions: when it was used. Milliseconds. */
  readonly usedAt?: number;
  readonly root?: boolean;
  /** Milliseconds. */
  readonly expires?: number;
}

export interface Lease {
  readonly flat: boolean;
  readonly expires?: number;
  readonly resources: Set<Name>;
}

export const item = (rest: Partial<Item> = {}): Item => ({ parts: [], references: [], owners: [], ...rest });

const kindOf = (name: Name): string => name.slice(0, name.indexOf('/'));

const isOver = (expires: number | undefined, now: number): boolean => expires !== undefined && expires <= now;

export class Graph {
  readonly items = new Map<Name, Item>();
  readonly leases = new Map<Name, Lease>();

  /** Keys of everything of that kind, in order; of snapshots with their snapshotter. */
  keys(kind: string): string[] {
    const names = kind === 'lease' ? this.leases.keys() : this.items.keys();
    const prefix = `${kind}/`;
    const found = [...names].filter((name) => name.startsWith(prefix));
    return found.map((name) => name.slice(prefix.length)).sort();
  }

  /** The names of everything there is that a collection must not take. */
  kept(now: number): Set<Name> {
    const whole = new Set<Name>();
    const flat = new Set<Name>();
    for (const [name, { root, expires }] of this.items) {
      const always = root === true || kindOf(name) === 'container';
      const untilThen = ['image', 'ingest'].includes(kindOf(name)) && !isOver(expires, now);
      if (always || untilThen) this.#keep(name, whole, now);
    }
    for (const [name, lease] of this.leases) {
      if (isOver(lease.expires, now)) continue;
      whole.add(name);
      for (const resource of lease.resources) {
        if (lease.flat) this.#keepFlat(resource, flat);
        else this.#keep(resource, whole, now);
      }
    }
    return new Set([...whole, ...flat].filter((name) => this.items.has(name) || this.leases.has(name)));
  }

  /** Removes what is not in `kept`. */
  retain(kept: ReadonlySet<Name>): void {
    for (const names of [this.items, this.leases]) {
      for (const name of [...names.keys()]) if (!kept.has(name)) names.delete(name);
    }
  }

  #keep(name: Name, kept: Set<Name>, now: number): void {
    if (kept.has(name)) return;
    kept.add(name);
    const found = this.items.get(name);
    for (const next of [...(found?.parts ?? []), ...(found?.references ?? [])]) this.#keep(next, kept, now);
    if (found?.condition) {
      const { snapshot, within } = found.condition;
      const used = this.items.get(snapshot)?.usedAt;
      if (used !== undefined && now - used < within) this.#keep(snapshot, kept, now);
    }
    for (const [other, { owners }] of this.items) if (owners.includes(name)) this.#keep(other, kept, now);
  }

  #keepFlat(name: Name, kept: Set<Name>): void {
    if (kept.has(name)) return;
    kept.add(name);
    for (const part of this.items.get(name)?.parts ?? []) this.#keepFlat(part, kept);
  }
}
