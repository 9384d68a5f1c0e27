import { randomBytes } from 'node:crypto';
import type { Lease, LeaseResource, Leases } from '../../kernel/contracts/leases.js';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import { alreadyExists, invalidArgument, notFound, unimplemented } from '../../kernel/errors.js';
import { parseDigest } from '../../lib/digest.js';
import { compileFilters, type Fields, mapField, nonEmpty } from '../../lib/filters/filters.js';
import { checkLabels, withoutEmpty } from '../../lib/labels.js';
import type { Writer } from '../../lib/sqlite/database.js';
import { integer, type Row, stringMap, text } from '../../lib/sqlite/row.js';
import { type Core, checkName, namespaceOf, touchNamespace } from './core.js';
import { expiryOf } from './gc-labels.js';
import { holdInLease, requireLease } from './lease-resources.js';
import { contentNode, identity, imageNode, ingestNode, leaseNode, type Node, snapshotNode } from './node.js';

const toLease = (row: Row): Lease => ({
  id: text(row, 'id'),
  createdAt: integer(row, 'created'),
  labels: stringMap(row, 'labels'),
});

const fieldsOf =
  ({ id, labels }: Lease): Fields =>
  ([first, ...rest]) => {
    if (first === 'id') return nonEmpty(id);
    return first === 'labels' ? mapField(labels, rest) : undefined;
  };

/**
 * A lease that expires is made for one piece of work, which ends with the power. Whatever it holds that survives comes after
 * it in the log, and makes it survive; a deletion that does not is made up for when it expires.
 */
const durabilityOf = (labels: Labels): true | 'soon' => (expiryOf(labels) === undefined ? true : 'soon');

/**
 * The node of a leased resource. UNIMPLEMENTED for a type leases do not know,
 * INVALID_ARGUMENT for one that is malformed.
 */
export function resourceNode(namespace: string, { type, id }: LeaseResource, flat = false): Node {
  const [kind, snapshotter, ...more] = type.split('/');
  const plain = snapshotter === undefined;
  const wrong = invalidArgument(`lease resource type "${type}" is malformed`);
  switch (kind) {
    case 'content':
      if (!plain) throw wrong;
      parseDigest(id);
      return contentNode(namespace, id, flat);
    case 'ingests':
      if (!plain) throw wrong;
      return ingestNode(namespace, id, flat);
    case 'images':
      if (!plain) throw wrong;
      return imageNode(namespace, id, flat);
    case 'snapshots':
      if (!snapshotter || more.length > 0) throw wrong;
      return snapshotNode(namespace, snapshotter, id, flat);
    default:
      throw unimplemented(`lease resource type "${type}" is not supported`, {
        remedy: 'use "content", "ingests", "images" or "snapshots/<snapshotter>"',
      });
  }
}

export class LeaseRecords implements Leases {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  async create(
    scope: Scope,
    { id, labels: given = {} }: { readonly id?: string; readonly labels?: Labels },
  ): Promise<Lease> {
    const namespace = namespaceOf(scope);
    const createdAt = this.#core.clock.wall();
    const lease = { id: id || `${createdAt}-${randomBytes(6).toString('base64url')}`, createdAt };
    const labels = withoutEmpty(given);
    checkName(lease.id, 'lease id');
    checkLabels(labels);
    const insert = (sql: Writer): void => {
      if (sql.get('SELECT 1 FROM leases WHERE ns = ? AND id = ?', namespace, lease.id)) {
        throw alreadyExists(`lease "${lease.id}" already exists`);
      }
      touchNamespace(sql, namespace);
      sql.run('INSERT INTO leases VALUES (?, ?, ?, ?)', namespace, lease.id, JSON.stringify(labels), createdAt);
      this.#core.touch(leaseNode(namespace, lease.id));
    };
    await this.#core.mutate(insert, { durable: durabilityOf(labels) });
    const expires = expiryOf(labels);
    if (expires !== undefined) {
      const node = identity(leaseNode(namespace, lease.id));
      this.#core.expiresIn(this.#core.expiries.remaining(node, expires, createdAt));
    }
    return { ...lease, labels };
  }

  async delete(scope: Scope, id: string, { sync = false }: { readonly sync?: boolean } = {}): Promise<void> {
    const namespace = namespaceOf(scope);
    const row = this.#core.database.get('SELECT labels FROM leases WHERE ns = ? AND id = ?', namespace, id);
    const remove = (sql: Writer): void => {
      if (sql.run('DELETE FROM leases WHERE ns = ? AND id = ?', namespace, id) === 0) {
        throw notFound(`lease "${id}" does not exist`);
      }
      sql.run('DELETE FROM lease_resources WHERE ns = ? AND lease = ?', namespace, id);
    };
    await this.#core.remove(remove, { durable: row ? durabilityOf(stringMap(row, 'labels')) : true });
    this.#core.expiries.forget(identity(leaseNode(namespace, id)));
    if (sync) await this.#core.collect();
  }

  async list(scope: Scope, filters?: readonly string[]): Promise<readonly Lease[]> {
    const matches = compileFilters(filters);
    const sql = 'SELECT * FROM leases WHERE ns = ? AND id > ? ORDER BY id LIMIT ?';
    const found: Lease[] = [];
    for await (const rows of this.#core.pages(sql, 'id', namespaceOf(scope))) {
      found.push(...rows.map(toLease).filter((lease) => matches(fieldsOf(lease))));
    }
    return found;
  }

  async addResource(scope: Scope, id: string, resource: LeaseResource): Promise<void> {
    const namespace = namespaceOf(scope);
    requireLease(this.#core.database, namespace, id);
    const node = resourceNode(namespace, resource);
    checkName(resource.id, 'id of a lease resource');
    await this.#core.mutate((sql) => {
      holdInLease(sql, namespace, id, resource.type, resource.id);
      this.#core.touch(node);
    });
  }

  async deleteResource(scope: Scope, id: string, resource: LeaseResource): Promise<void> {
    const namespace = namespaceOf(scope);
    requireLease(this.#core.database, namespace, id);
    resourceNode(namespace, resource);
    const where = 'ns = ? AND lease = ? AND type = ? AND id = ?';
    await this.#core.remove((sql) => {
      requireLease(sql, namespace, id);
      sql.run(`DELETE FROM lease_resources WHERE ${where}`, namespace, id, resource.type, resource.id);
    });
  }

  async resources(scope: Scope, id: string): Promise<readonly LeaseResource[]> {
    const namespace = namespaceOf(scope);
    requireLease(this.#core.database, namespace, id);
    const sql = 'SELECT type, id FROM lease_resources WHERE ns = ? AND lease = ? ORDER BY type, id';
    const rows = this.#core.database.all(sql, namespace, id);
    return rows.map((row) => ({ type: text(row, 'type'), id: text(row, 'id') }));
  }
}
