import { NamespaceCreate, NamespaceDelete, NamespaceUpdate } from '../../api/gen/events/namespace.js';
import type { Namespace, Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Labels, UpdateMask } from '../../kernel/contracts/scope.js';
import { alreadyExists, failedPrecondition, invalidArgument, notFound } from '../../kernel/errors.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { checkLabels, labelOf, withLabel, withoutEmpty } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Reader, Writer } from '../../lib/sqlite/database.js';
import { stringMap, text } from '../../lib/sqlite/row.js';
import { type Core, touchNamespace } from './core.js';

/** Tables whose rows keep a namespace, with what to call them. */
const CONTENTS = [
  ['images', 'images'],
  ['content', 'blobs'],
  ['containers', 'containers'],
  ['sandboxes', 'sandboxes'],
] as const;

function masked(name: string, current: Labels, incoming: Labels, mask: UpdateMask): Labels {
  return mask.reduce((labels, path) => {
    if (!path.startsWith('labels.')) {
      throw invalidArgument(`cannot update field "${path}" of namespace "${name}": only "labels.KEY"`);
    }
    const key = path.slice('labels.'.length);
    return withLabel(labels, key, labelOf(incoming, key) ?? '');
  }, current);
}

/** What a namespace still holds, in words. */
function contentsOf(sql: Reader, namespace: string): string[] {
  const kinds = CONTENTS.filter(([table]) => sql.get(`SELECT 1 FROM ${table} WHERE ns = ? LIMIT 1`, namespace));
  const snapshotters = sql.all('SELECT DISTINCT snapshotter FROM snapshots WHERE ns = ?', namespace);
  return [
    ...kinds.map(([, words]) => words),
    ...snapshotters.map((row) => `snapshots on "${text(row, 'snapshotter')}" snapshotter`),
  ];
}

export class NamespaceRecords implements Namespaces {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  async get(name: string): Promise<Namespace> {
    return { name, labels: this.#labels(this.#core.database, name) };
  }

  async list(): Promise<readonly Namespace[]> {
    const rows = this.#core.database.all('SELECT name, labels FROM namespaces ORDER BY name');
    return rows.map((row) => ({ name: text(row, 'name'), labels: stringMap(row, 'labels') }));
  }

  async create(namespace: Namespace): Promise<Namespace> {
    const name = checkIdentifier(namespace.name, 'namespace');
    checkLabels(namespace.labels);
    const labels = withoutEmpty(namespace.labels);
    await this.#core.mutate((sql) => {
      if (sql.get('SELECT 1 FROM namespaces WHERE name = ?', name)) {
        throw alreadyExists(`namespace "${name}" already exists`);
      }
      sql.run('INSERT INTO namespaces VALUES (?, ?)', name, JSON.stringify(labels));
    });
    this.#core.publish(name, '/namespaces/create', packAny(NamespaceCreate, { name, labels: { ...labels } }));
    return { name, labels };
  }

  async update(namespace: Namespace, mask: UpdateMask = []): Promise<Namespace> {
    const name = checkIdentifier(namespace.name, 'namespace');
    const labels = await this.#core.mutate((sql) => {
      const updated =
        mask.length === 0
          ? withoutEmpty(namespace.labels)
          : masked(name, this.#labels(sql, name), namespace.labels, mask);
      checkLabels(updated);
      touchNamespace(sql, name);
      sql.run('UPDATE namespaces SET labels = ? WHERE name = ?', JSON.stringify(updated), name);
      return updated;
    });
    this.#core.publish(name, '/namespaces/update', packAny(NamespaceUpdate, { name, labels: { ...labels } }));
    return { name, labels };
  }

  async delete(name: string): Promise<void> {
    checkIdentifier(name, 'namespace');
    await this.#core.remove((sql) => this.#delete(sql, name));
    this.#core.publish(name, '/namespaces/delete', packAny(NamespaceDelete, { name }));
  }

  #labels(sql: Reader, name: string): Labels {
    const row = sql.get('SELECT labels FROM namespaces WHERE name = ?', name);
    return row ? stringMap(row, 'labels') : {};
  }

  /** Leases and ingests go with it. */
  #delete(sql: Writer, name: string): void {
    const left = contentsOf(sql, name);
    if (left.length > 0) {
      throw failedPrecondition(`namespace "${name}" must be empty, but it still has ${left.join(', ')}`);
    }
    if (sql.run('DELETE FROM namespaces WHERE name = ?', name) === 0) throw notFound(`namespace "${name}" not found`);
    sql.run('INSERT OR IGNORE INTO orphan_ingests SELECT backend_ref FROM ingests WHERE ns = ?', name);
    for (const table of ['ingests', 'leases', 'lease_resources']) sql.run(`DELETE FROM ${table} WHERE ns = ?`, name);
  }
}
