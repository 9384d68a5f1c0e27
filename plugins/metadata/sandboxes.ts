import type { NewSandbox, Sandbox, Sandboxes } from '../../kernel/contracts/sandboxes.js';
import type { AnyMessage, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import { alreadyExists, invalidArgument, notFound } from '../../kernel/errors.js';
import { compileFilters, type Fields, mapField, nonEmpty } from '../../lib/filters/filters.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { applyMapMask, checkLabels, withoutEmpty } from '../../lib/labels.js';
import type { Reader, Writer } from '../../lib/sqlite/database.js';
import { bytes, integer, type Row, stringMap, text } from '../../lib/sqlite/row.js';
import { type Core, namespaceOf, touchNamespace } from './core.js';
import { decodeExtensions, encodeExtensions, maskExtensions } from './extensions.js';
import { sandboxNode } from './node.js';

/** The message in the columns `<name>_type` and `<name>`, if there is one. */
const anyOf = (row: Row, name: string): AnyMessage | undefined =>
  row[`${name}_type`] === null ? undefined : { typeUrl: text(row, `${name}_type`), value: bytes(row, name) };

function toSandbox(row: Row): Sandbox {
  const options = anyOf(row, 'options');
  const spec = anyOf(row, 'spec');
  return {
    id: text(row, 'id'),
    labels: stringMap(row, 'labels'),
    runtime: { name: text(row, 'runtime'), ...(options && { options }) },
    ...(spec && { spec }),
    extensions: decodeExtensions(row),
    sandboxer: text(row, 'sandboxer'),
    createdAt: integer(row, 'created'),
    updatedAt: integer(row, 'updated'),
  };
}

const fieldsOf =
  ({ id, runtime, sandboxer, labels }: Sandbox): Fields =>
  ([first, ...rest]) => {
    switch (first) {
      case 'id':
        return nonEmpty(id);
      case 'runtime':
        return rest[0] === 'name' ? nonEmpty(runtime.name) : undefined;
      case 'sandboxer':
        return nonEmpty(sandboxer);
      case 'labels':
        return mapField(labels, rest);
      default:
        return undefined;
    }
  };

function checkSandbox({ id, labels, extensions }: NewSandbox): void {
  checkIdentifier(id, 'sandbox id');
  checkLabels(labels);
  if (Object.hasOwn(extensions, '')) throw invalidArgument(`sandbox "${id}": extensions need names`);
}

/** What an update without a mask replaces. */
const ALL: UpdateMask = ['labels', 'extensions', 'spec', 'runtime'];

function withSpec({ spec: _, ...rest }: Sandbox, spec: AnyMessage | undefined): Sandbox {
  return spec === undefined ? rest : { ...rest, spec };
}

function maskSandbox(current: Sandbox, incoming: NewSandbox, path: string): Sandbox {
  const labels = applyMapMask('labels', path, current.labels, incoming.labels);
  if (labels) return { ...current, labels };
  const extensions = maskExtensions(current.extensions, incoming.extensions, path);
  if (extensions) return { ...current, extensions };
  if (path === 'spec') return withSpec(current, incoming.spec);
  if (path === 'runtime') return { ...current, runtime: incoming.runtime };
  throw invalidArgument(`cannot update field "${path}" of sandbox "${current.id}"`, {
    remedy: 'use "labels", "labels.KEY", "extensions", "extensions.KEY", "spec" or "runtime"',
  });
}

export class SandboxRecords implements Sandboxes {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  async get(scope: Scope, id: string): Promise<Sandbox> {
    return this.#read(this.#core.database, namespaceOf(scope), id);
  }

  async list(scope: Scope, filters?: readonly string[]): Promise<readonly Sandbox[]> {
    const matches = compileFilters(filters);
    const sql = 'SELECT * FROM sandboxes WHERE ns = ? AND id > ? ORDER BY id LIMIT ?';
    const found: Sandbox[] = [];
    for await (const rows of this.#core.pages(sql, 'id', namespaceOf(scope)))
      found.push(...rows.map(toSandbox).filter((sandbox) => matches(fieldsOf(sandbox))));
    return found;
  }

  async create(scope: Scope, sandbox: NewSandbox): Promise<Sandbox> {
    const namespace = namespaceOf(scope);
    checkSandbox(sandbox);
    const createdAt = this.#core.clock.wall();
    const created = { ...sandbox, labels: withoutEmpty(sandbox.labels), createdAt, updatedAt: createdAt };
    await this.#core.mutate((sql) => {
      if (sql.get('SELECT 1 FROM sandboxes WHERE ns = ? AND id = ?', namespace, sandbox.id))
        throw alreadyExists(`sandbox "${sandbox.id}" already exists`);
      touchNamespace(sql, namespace);
      this.#write(sql, namespace, created);
    });
    return created;
  }

  async update(scope: Scope, sandbox: NewSandbox, mask: UpdateMask = []): Promise<Sandbox> {
    const namespace = namespaceOf(scope);
    if (sandbox.id === '') throw invalidArgument('sandbox id must not be empty');
    return this.#core.mutate((sql) => {
      const current = this.#read(sql, namespace, sandbox.id);
      if (mask.length === 0 && current.runtime.name !== sandbox.runtime.name)
        throw invalidArgument(`sandbox "${sandbox.id}": runtime name is immutable`);
      const paths = mask.length === 0 ? ALL : mask;
      const masked = paths.reduce((changed, path) => maskSandbox(changed, sandbox, path), current);
      checkSandbox(masked);
      const next = { ...masked, updatedAt: this.#core.clock.wall() };
      this.#write(sql, namespace, next);
      return next;
    });
  }

  async delete(scope: Scope, id: string): Promise<void> {
    const namespace = namespaceOf(scope);
    await this.#core.remove((sql) => {
      if (sql.run('DELETE FROM sandboxes WHERE ns = ? AND id = ?', namespace, id) > 0) return;
      throw notFound(`sandbox "${id}" not found in namespace "${namespace}"`);
    });
  }

  #read(sql: Reader, namespace: string, id: string): Sandbox {
    const row = sql.get('SELECT * FROM sandboxes WHERE ns = ? AND id = ?', namespace, id);
    if (!row) throw notFound(`sandbox "${id}" not found in namespace "${namespace}"`);
    return toSandbox(row);
  }

  #write(sql: Writer, namespace: string, sandbox: Sandbox): void {
    const { id, labels, runtime, spec, extensions, sandboxer, createdAt, updatedAt } = sandbox;
    sql.run(
      'INSERT OR REPLACE INTO sandboxes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[namespace, id, JSON.stringify(labels)],
      ...[runtime.name, runtime.options?.typeUrl ?? null, runtime.options?.value ?? null],
      ...[spec?.typeUrl ?? null, spec?.value ?? null],
      ...[encodeExtensions(extensions), sandboxer, createdAt, updatedAt],
    );
    this.#core.touch(sandboxNode(namespace, id));
  }
}
