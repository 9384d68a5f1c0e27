import { ContainerCreate, ContainerDelete, ContainerUpdate } from '../../api/gen/events/container.js';
import type { Container, Containers, NewContainer } from '../../kernel/contracts/containers.js';
import type { Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import { alreadyExists, invalidArgument, notFound } from '../../kernel/errors.js';
import { compileFilters, type Fields, mapField, nonEmpty } from '../../lib/filters/filters.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { applyMapMask, checkLabels, withoutEmpty } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Reader, Writer } from '../../lib/sqlite/database.js';
import { bytes, integer, type Row, stringMap, text } from '../../lib/sqlite/row.js';
import { type Core, namespaceOf, touchNamespace } from './core.js';
import { decodeExtensions, encodeExtensions, maskExtensions } from './extensions.js';
import { containerNode } from './node.js';

function toRuntime(row: Row): Container['runtime'] {
  const name = text(row, 'runtime');
  if (row.options_type === null) return { name };
  return { name, options: { typeUrl: text(row, 'options_type'), value: bytes(row, 'options') } };
}

const toContainer = (row: Row): Container => ({
  id: text(row, 'id'),
  labels: stringMap(row, 'labels'),
  image: text(row, 'image'),
  runtime: toRuntime(row),
  spec: { typeUrl: text(row, 'spec_type'), value: bytes(row, 'spec') },
  snapshotter: text(row, 'snapshotter'),
  snapshotKey: text(row, 'snapshot_key'),
  createdAt: integer(row, 'created'),
  updatedAt: integer(row, 'updated'),
  extensions: decodeExtensions(row),
  sandbox: text(row, 'sandbox'),
});

const fieldsOf =
  ({ id, runtime, image, labels }: Container): Fields =>
  ([first, ...rest]) => {
    switch (first) {
      case 'id':
        return nonEmpty(id);
      case 'runtime':
        return rest[0] === 'name' ? nonEmpty(runtime.name) : undefined;
      case 'image':
        return nonEmpty(image);
      case 'labels':
        return mapField(labels, rest);
      default:
        return undefined;
    }
  };

function checkContainer({ id, labels, runtime, spec, snapshotter, snapshotKey, extensions }: NewContainer): void {
  checkIdentifier(id, 'container id');
  checkLabels(labels);
  if (Object.hasOwn(extensions, '')) throw invalidArgument(`container "${id}": extensions need names`);
  if (runtime.name === '') throw invalidArgument(`container "${id}": runtime name must be set`);
  if (spec.typeUrl === '') throw invalidArgument(`container "${id}": spec must be set`);
  if (snapshotKey !== '' && snapshotter === '') {
    throw invalidArgument(`container "${id}": snapshotter must be set when the snapshot key is`);
  }
}

/** What an update without a mask replaces. */
const ALL: UpdateMask = ['labels', 'spec', 'extensions', 'image', 'snapshotkey'];

function checkImmutable(current: Container, incoming: NewContainer): void {
  const { id } = current;
  if (current.snapshotter !== incoming.snapshotter)
    throw invalidArgument(`container "${id}": snapshotter is immutable`);
  if (current.runtime.name !== incoming.runtime.name) {
    throw invalidArgument(`container "${id}": runtime name is immutable`);
  }
}

function maskContainer(current: Container, incoming: NewContainer, path: string): Container {
  const labels = applyMapMask('labels', path, current.labels, incoming.labels);
  if (labels) return { ...current, labels };
  const extensions = maskExtensions(current.extensions, incoming.extensions, path);
  if (extensions) return { ...current, extensions };
  if (path === 'spec') return { ...current, spec: incoming.spec };
  if (path === 'image') return { ...current, image: incoming.image };
  if (path === 'snapshotkey') return { ...current, snapshotKey: incoming.snapshotKey };
  throw invalidArgument(`cannot update field "${path}" of container "${current.id}"`, {
    remedy: 'use "labels", "labels.KEY", "extensions", "extensions.KEY", "spec", "image" or "snapshotkey"',
  });
}

export class ContainerRecords implements Containers {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  async get(scope: Scope, id: string): Promise<Container> {
    return this.#read(this.#core.database, namespaceOf(scope), id);
  }

  async list(scope: Scope, filters?: readonly string[]): Promise<readonly Container[]> {
    const matches = compileFilters(filters);
    const sql = 'SELECT * FROM containers WHERE ns = ? AND id > ? ORDER BY id LIMIT ?';
    const found: Container[] = [];
    for await (const rows of this.#core.pages(sql, 'id', namespaceOf(scope))) {
      found.push(...rows.map(toContainer).filter((container) => matches(fieldsOf(container))));
    }
    return found;
  }

  async create(scope: Scope, container: NewContainer): Promise<Container> {
    const namespace = namespaceOf(scope);
    checkContainer(container);
    const createdAt = this.#core.clock.wall();
    const created = { ...container, labels: withoutEmpty(container.labels), createdAt, updatedAt: createdAt };
    const { id, image, runtime } = created;
    await this.#core.mutate((sql) => {
      if (sql.get('SELECT 1 FROM containers WHERE ns = ? AND id = ?', namespace, id)) {
        throw alreadyExists(`container "${id}" already exists`);
      }
      touchNamespace(sql, namespace);
      this.#write(sql, namespace, created);
    });
    const options = runtime.options && { typeUrl: runtime.options.typeUrl, value: runtime.options.value };
    const event = { id, image, runtime: { name: runtime.name, options } };
    this.#core.publish(namespace, '/containers/create', packAny(ContainerCreate, event));
    return created;
  }

  async update(scope: Scope, container: NewContainer, mask: UpdateMask = []): Promise<Container> {
    const namespace = namespaceOf(scope);
    if (container.id === '') throw invalidArgument('container id must not be empty');
    const updated = await this.#core.mutate((sql) => {
      const current = this.#read(sql, namespace, container.id);
      if (mask.length === 0) checkImmutable(current, container);
      const paths = mask.length === 0 ? ALL : mask;
      const masked = paths.reduce((changed, path) => maskContainer(changed, container, path), current);
      checkContainer(masked);
      const next = { ...masked, updatedAt: this.#core.clock.wall() };
      this.#write(sql, namespace, next);
      return next;
    });
    const { id, image, labels, snapshotKey } = updated;
    const event = { id, image, labels: { ...labels }, snapshotKey };
    this.#core.publish(namespace, '/containers/update', packAny(ContainerUpdate, event));
    return updated;
  }

  async delete(scope: Scope, id: string): Promise<void> {
    const namespace = namespaceOf(scope);
    await this.#core.remove((sql) => {
      if (sql.run('DELETE FROM containers WHERE ns = ? AND id = ?', namespace, id) > 0) return;
      throw notFound(`container "${id}" not found in namespace "${namespace}"`);
    });
    this.#core.publish(namespace, '/containers/delete', packAny(ContainerDelete, { id }));
  }

  #read(sql: Reader, namespace: string, id: string): Container {
    const row = sql.get('SELECT * FROM containers WHERE ns = ? AND id = ?', namespace, id);
    if (!row) throw notFound(`container "${id}" not found in namespace "${namespace}"`);
    return toContainer(row);
  }

  #write(sql: Writer, namespace: string, container: Container): void {
    const { id, labels, image, runtime, spec, snapshotter, snapshotKey, extensions, sandbox } = container;
    sql.run(
      'INSERT OR REPLACE INTO containers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[namespace, id, JSON.stringify(labels), image],
      ...[runtime.name, runtime.options?.typeUrl ?? null, runtime.options?.value ?? null, spec.typeUrl, spec.value],
      ...[snapshotter, snapshotKey, container.createdAt, container.updatedAt, encodeExtensions(extensions), sandbox],
    );
    this.#core.touch(containerNode(namespace, id));
  }
}
