import { ImageDelete } from '../../../api/gen/events/image.js';
import { SnapshotRemove } from '../../../api/gen/events/snapshot.js';
import { failpoint } from '../../../lib/failpoint.js';
import { packAny } from '../../../lib/rpc/any.js';
import type { Writer } from '../../../lib/sqlite/database.js';
import { integer, text } from '../../../lib/sqlite/row.js';
import type { Core } from '../core.js';
import {
  contentNode,
  identity,
  imageNode,
  ingestNode,
  leaseNode,
  type Node,
  snapshotNode,
  splitSnapshot,
} from '../node.js';
import type { Marker } from './mark.js';
import { newestFirst } from './order.js';
import { referencesOf } from './references.js';
import type { Slices } from './slices.js';
import { rowsOf } from './tables.js';

/** Records deleted in one transaction. */
const BATCH = 100;

/** How many of each were deleted. */
export type Swept = Readonly<Record<Node['type'], number>>;

const DELETE: Readonly<Record<Node['type'], (sql: Writer, node: Node) => void>> = {
  lease: (sql, { namespace, key }) => {
    sql.run('DELETE FROM leases WHERE ns = ? AND id = ?', namespace, key);
    sql.run('DELETE FROM lease_resources WHERE ns = ? AND lease = ?', namespace, key);
  },
  image: (sql, { namespace, key }) => {
    sql.run('DELETE FROM images WHERE ns = ? AND name = ?', namespace, key);
  },
  content: (sql, { namespace, key }) => {
    sql.run('INSERT OR IGNORE INTO orphan_content VALUES (?)', key);
    sql.run('DELETE FROM content WHERE ns = ? AND digest = ?', namespace, key);
  },
  ingest: (sql, { namespace, key }) => {
    const orphan = 'INSERT OR IGNORE INTO orphan_ingests SELECT backend_ref FROM ingests';
    sql.run(`${orphan} WHERE ns = ? AND ref = ?`, namespace, key);
    sql.run('DELETE FROM ingests WHERE ns = ? AND ref = ?', namespace, key);
  },
  snapshot: (sql, node) => {
    const [snapshotter = '', key = ''] = splitSnapshot(node) ?? [];
    const where = 'ns = ? AND snapshotter = ? AND key = ?';
    const orphan = 'INSERT OR IGNORE INTO orphan_snapshots SELECT snapshotter, backend_key, sequence FROM snapshots';
    sql.run(`${orphan} WHERE ${where}`, node.namespace, snapshotter, key);
    sql.run(`DELETE FROM snapshots WHERE ${where}`, node.namespace, snapshotter, key);
  },
  container: () => undefined,
  sandbox: () => undefined,
};

/** Deletes the records of what is not kept. */
export class Sweep {
  readonly #core: Core;
  readonly #slices: Slices;
  readonly #marker: Marker;

  constructor(core: Core, slices: Slices, marker: Marker) {
    this.#core = core;
    this.#slices = slices;
    this.#marker = marker;
  }

  /**
   * Whoever refers goes before what he refers to: a client that takes something up between two
   * transactions finds it either whole or gone.
   */
  async run(): Promise<Swept> {
    const swept = { lease: 0, image: 0, content: 0, ingest: 0, snapshot: 0, container: 0, sandbox: 0 };
    const garbage = await this.#garbage();
    for (let done = 0; done < garbage.length; ) {
      await this.#marker.run();
      this.#slices.end();
      const batch = garbage.slice(done, done + BATCH);
      const deleted = await this.#core.database.mutate((sql) => this.#delete(sql, batch), {
        durable: false,
        frees: true,
      });
      this.#slices.begin();
      if (!deleted) continue;
      done += batch.length;
      for (const node of deleted) {
        swept[node.type] += 1;
        this.#core.expiries.forget(identity(node));
        this.#announce(node);
      }
    }
    return swept;
  }

  /** The nodes deleted; undefined when too much was touched since to tell which are garbage. */
  #delete(sql: Writer, batch: readonly Node[]): readonly Node[] | undefined {
    this.#slices.begin();
    try {
      if (!this.#marker.settle()) return undefined;
      failpoint('gc.sweep');
      const garbage = batch.filter((node) => !this.#marker.isKept(node));
      for (const node of garbage) DELETE[node.type](sql, node);
      return garbage;
    } finally {
      this.#slices.end();
    }
  }

  #announce(node: Node): void {
    const { namespace, key } = node;
    if (node.type === 'image') this.#core.publish(namespace, '/images/delete', packAny(ImageDelete, { name: key }));
    if (node.type !== 'snapshot') return;
    const [snapshotter = '', name = ''] = splitSnapshot(node) ?? [];
    this.#core.publish(namespace, '/snapshot/remove', packAny(SnapshotRemove, { key: name, snapshotter }));
  }

  async #garbage(): Promise<readonly Node[]> {
    const leases = await this.#unkept('leases', 'id', leaseNode);
    const images = await this.#unkept('images', 'name', imageNode);
    const ingests = await this.#unkept('ingests', 'ref', ingestNode);
    const content = await this.#unkept('content', 'digest', contentNode);
    return [...leases, ...images, ...ingests, ...(await this.#referrersFirst(content)), ...(await this.#snapshots())];
  }

  async #unkept(table: string, key: string, make: (namespace: string, key: string) => Node): Promise<Node[]> {
    const found: Node[] = [];
    for await (const row of rowsOf(this.#core.database, this.#slices, table, ['ns', key])) {
      const node = make(text(row, 'ns'), text(row, key));
      if (!this.#marker.isKept(node)) found.push(node);
    }
    return found;
  }

  /** Children before parents: a child's number is the higher one. */
  async #snapshots(): Promise<Node[]> {
    const found: { readonly node: Node; readonly sequence: bigint }[] = [];
    const keys = ['ns', 'snapshotter', 'key'];
    for await (const row of rowsOf(this.#core.database, this.#slices, 'snapshots', keys, ['sequence'])) {
      const node = snapshotNode(text(row, 'ns'), text(row, 'snapshotter'), text(row, 'key'));
      if (!this.#marker.isKept(node)) found.push({ node, sequence: integer(row, 'sequence') });
    }
    return (await newestFirst(found, this.#slices)).map(({ node }) => node);
  }

  /** Depth first, each node after all it leads to; then the other way round. Cycles end somewhere. */
  async #referrersFirst(nodes: readonly Node[]): Promise<readonly Node[]> {
    const left = new Map(nodes.map((node) => [identity(node), node]));
    const order: Node[] = [];
    for (const node of nodes) {
      const stack = [{ node, leave: false }];
      for (let top = stack.pop(); top; top = stack.pop()) {
        if (top.leave) order.push(top.node);
        else if (left.delete(identity(top.node))) {
          stack.push({ node: top.node, leave: true });
          const references = referencesOf(this.#core.database, top.node);
          for (const next of references) if (left.has(identity(next))) stack.push({ node: next, leave: false });
        }
        if (this.#slices.over) await this.#slices.rest();
      }
    }
    return order.reverse();
  }
}
