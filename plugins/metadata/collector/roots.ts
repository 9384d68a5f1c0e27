import { asksToDiscard } from '../../../lib/discard-label.js';
import { labelOf } from '../../../lib/labels.js';
import { integer, type Row, stringMap, text } from '../../../lib/sqlite/row.js';
import type { Core } from '../core.js';
import { backReferences, type Condition, conditions, expiryOf, FLAT, isRoot, usedAt } from '../gc-labels.js';
import { resourceNode } from '../leases.js';
import {
  containerNode,
  contentNode,
  identity,
  imageNode,
  ingestNode,
  leaseNode,
  type Node,
  sandboxNode,
  snapshotNode,
} from '../node.js';
import type { Discards } from './discards.js';
import type { Slices } from './slices.js';
import { GC_LABELS, IMAGE_LABELS, rowsOf } from './tables.js';

/** Where a collection begins. */
export interface Roots {
  readonly nodes: readonly Node[];
  /** By the identity of a node, what else it keeps: those that refer back to it. */
  readonly keeps: ReadonlyMap<string, readonly Node[]>;
  /** Milliseconds until the next thing expires. */
  readonly nextExpiry: number;
}

/** Reads everything once, for what is kept by itself and what says of itself that it belongs to another. */
export class RootScan {
  readonly #core: Core;
  readonly #slices: Slices;
  readonly #discards: Discards;
  readonly #nodes: Node[] = [];
  readonly #keeps = new Map<string, Node[]>();
  readonly #conditions: { readonly of: Node; readonly condition: Condition }[] = [];
  readonly #usedAt = new Map<string, bigint>();
  #nextExpiry = Number.POSITIVE_INFINITY;

  constructor(core: Core, slices: Slices, discards: Discards) {
    this.#core = core;
    this.#slices = slices;
    this.#discards = discards;
  }

  async run(): Promise<Roots> {
    await this.#leases();
    await this.#images();
    await this.#ingests();
    await this.#content();
    await this.#containers();
    await this.#sandboxes();
    await this.#snapshots();
    this.#evaluateConditions();
    return { nodes: this.#nodes, keeps: this.#keeps, nextExpiry: this.#nextExpiry };
  }

  #rows(table: string, keys: readonly string[], columns: readonly string[]): AsyncGenerator<Row> {
    return rowsOf(this.#core.database, this.#slices, table, keys, columns);
  }

  #isExpired(node: Node, expires: bigint | undefined, since: bigint): boolean {
    if (expires === undefined) return false;
    const left = this.#core.expiries.remaining(identity(node), expires, since);
    if (left <= 0) return true;
    this.#nextExpiry = Math.min(this.#nextExpiry, left);
    return false;
  }

  #belongsTo(node: Node, owners: readonly Node[]): void {
    for (const owner of owners) {
      const key = identity(owner);
      const kept = this.#keeps.get(key) ?? [];
      kept.push(node);
      this.#keeps.set(key, kept);
    }
  }

  async #leases(): Promise<void> {
    const flat = new Map<string, boolean>();
    for await (const row of this.#rows('leases', ['ns', 'id'], [GC_LABELS, 'created'])) {
      const node = leaseNode(text(row, 'ns'), text(row, 'id'));
      const labels = stringMap(row, 'labels');
      if (this.#isExpired(node, expiryOf(labels), integer(row, 'created'))) continue;
      this.#nodes.push(node);
      flat.set(identity(node), labelOf(labels, FLAT) !== undefined);
    }
    for await (const row of this.#rows('lease_resources', ['ns', 'lease', 'type', 'id'], [])) {
      const namespace = text(row, 'ns');
      const isFlat = flat.get(identity(leaseNode(namespace, text(row, 'lease'))));
      if (isFlat === undefined) continue;
      const resource = { type: text(row, 'type'), id: text(row, 'id') };
      this.#nodes.push(resourceNode(namespace, resource, isFlat));
    }
  }

  async #images(): Promise<void> {
    for await (const row of this.#rows('images', ['ns', 'name'], [IMAGE_LABELS, 'digest', 'updated'])) {
      const namespace = text(row, 'ns');
      const node = imageNode(namespace, text(row, 'name'));
      const labels = stringMap(row, 'labels');
      if (asksToDiscard(labels)) this.#discards.ask(namespace, text(row, 'digest'));
      this.#addConditions(node, namespace, labels);
      if (this.#isExpired(node, expiryOf(labels), integer(row, 'updated'))) {
        this.#belongsTo(node, backReferences(namespace, labels));
      } else this.#nodes.push(node);
    }
  }

  async #ingests(): Promise<void> {
    for await (const row of this.#rows('ingests', ['ns', 'ref'], ['expires', 'created'])) {
      // Without an expiry it is its lease that keeps it.
      if (row.expires === null) continue;
      const node = ingestNode(text(row, 'ns'), text(row, 'ref'));
      if (!this.#isExpired(node, integer(row, 'expires'), integer(row, 'created'))) this.#nodes.push(node);
    }
  }

  async #content(): Promise<void> {
    for await (const row of this.#rows('content', ['ns', 'digest'], [GC_LABELS])) {
      if (row.labels === '{}') continue;
      const namespace = text(row, 'ns');
      const node = contentNode(namespace, text(row, 'digest'));
      const labels = stringMap(row, 'labels');
      if (isRoot(labels)) this.#nodes.push(node);
      this.#belongsTo(node, backReferences(namespace, labels));
      this.#addConditions(node, namespace, labels);
    }
  }

  async #containers(): Promise<void> {
    for await (const row of this.#rows('containers', ['ns', 'id'], [GC_LABELS])) {
      const namespace = text(row, 'ns');
      const node = containerNode(namespace, text(row, 'id'));
      this.#nodes.push(node);
      this.#belongsTo(node, backReferences(namespace, stringMap(row, 'labels')));
    }
  }

  async #sandboxes(): Promise<void> {
    for await (const row of this.#rows('sandboxes', ['ns', 'id'], []))
      this.#nodes.push(sandboxNode(text(row, 'ns'), text(row, 'id')));
  }

  async #snapshots(): Promise<void> {
    for await (const row of this.#rows('snapshots', ['ns', 'snapshotter', 'key'], [GC_LABELS])) {
      if (row.labels === '{}') continue;
      const namespace = text(row, 'ns');
      const node = snapshotNode(namespace, text(row, 'snapshotter'), text(row, 'key'));
      const labels = stringMap(row, 'labels');
      if (isRoot(labels)) this.#nodes.push(node);
      this.#belongsTo(node, backReferences(namespace, labels));
      const used = usedAt(labels);
      if (used !== undefined) this.#usedAt.set(identity(node), used);
    }
  }

  #addConditions(of: Node, namespace: string, labels: Readonly<Record<string, string>>): void {
    for (const condition of conditions(namespace, labels)) this.#conditions.push({ of, condition });
  }

  #evaluateConditions(): void {
    const now = this.#core.clock.wall();
    for (const { of, condition } of this.#conditions) {
      const used = this.#usedAt.get(identity(condition.snapshot));
      if (used !== undefined && condition.holds(used, now)) this.#belongsTo(condition.snapshot, [of]);
    }
  }
}
