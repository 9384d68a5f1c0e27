/** Records of containers in memory, which pass their part of the kit of records. */
import { ContainerCreate, ContainerDelete, ContainerUpdate } from '../../api/gen/events/container.js';
import type { Container, Containers, NewContainer } from '../../kernel/contracts/containers.js';
import type { Events } from '../../kernel/contracts/events.js';
import type { Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import { alreadyExists, invalidArgument, notFound } from '../../kernel/errors.js';
import { compileFilters, type Fields, mapField, nonEmpty } from '../../lib/filters/filters.js';
import { checkIdentifier } from '../../lib/identifier.js';
import { applyMapMask, checkLabels, withoutEmpty } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import { now } from '../../lib/rpc/timestamp.js';

const keyOf = ({ namespace }: Scope, id: string): string => `${checkIdentifier(namespace, 'namespace')}/${id}`;

const fieldsOf =
  ({ id, image, runtime, labels }: Container): Fields =>
  ([field, ...rest]) => {
    if (field === 'labels') return mapField(labels, rest);
    if (field === 'runtime') return rest[0] === 'name' ? nonEmpty(runtime.name) : undefined;
    if (field === 'id') return nonEmpty(id);
    return field === 'image' ? nonEmpty(image) : undefined;
  };

function check({ id, labels, runtime, spec, snapshotter, snapshotKey, extensions }: NewContainer): void {
  checkIdentifier(id, 'container id');
  checkLabels(labels);
  if (Object.hasOwn(extensions, '')) throw invalidArgument(`container "${id}": extensions need names`);
  if (runtime.name === '') throw invalidArgument(`container "${id}" names no runtime`);
  if (spec.typeUrl === '') throw invalidArgument(`container "${id}" has no spec`);
  if (snapshotKey !== '' && snapshotter === '') throw invalidArgument(`container "${id}" names no snapshotter`);
}

const EXTENSION = 'extensions.';

function masked(current: Container, incoming: NewContainer, path: string): Container {
  const labels = applyMapMask('labels', path, current.labels, incoming.labels);
  if (labels) return { ...current, labels };
  if (path.startsWith(EXTENSION)) {
    const name = path.slice(EXTENSION.length);
    const others = Object.entries(current.extensions).filter(([key]) => key !== name);
    const given = Object.entries(incoming.extensions).filter(([key]) => key === name);
    return { ...current, extensions: Object.fromEntries([...others, ...given]) };
  }
  if (path === 'extensions') return { ...current, extensions: incoming.extensions };
  if (path === 'spec') return { ...current, spec: incoming.spec };
  if (path === 'image') return { ...current, image: incoming.image };
  if (path === 'snapshotkey') return { ...current, snapshotKey: incoming.snapshotKey };
  throw invalidArgument(`field "${path}" of container "${current.id}" cannot be updated`);
}

export class MemoryContainers implements Containers {
  /** By `namespace/id`. */
  readonly containers = new Map<string, Container>();
  readonly #events: Pick<Events, 'publish'> | undefined;

  /** `events`: where what happens is told. */
  constructor(events?: Pick<Events, 'publish'>) {
    this.#events = events;
  }

  async get(scope: Scope, id: string): Promise<Container> {
    const container = this.containers.get(keyOf(scope, id));
    if (container === undefined) throw notFound(`container "${id}" not found in namespace "${scope.namespace}"`);
    return container;
  }

  async list(scope: Scope, filters?: readonly string[]): Promise<readonly Container[]> {
    const matches = compileFilters(filters);
    const prefix = keyOf(scope, '');
    const here = [...this.containers].filter(([key]) => key.startsWith(prefix)).map(([, container]) => container);
    return here.filter((container) => matches(fieldsOf(container))).sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async create(scope: Scope, container: NewContainer): Promise<Container> {
    const key = keyOf(scope, container.id);
    check(container);
    if (this.containers.has(key)) throw alreadyExists(`container "${container.id}" already exists`);
    const createdAt = now();
    const created = { ...container, labels: withoutEmpty(container.labels), createdAt, updatedAt: createdAt };
    this.containers.set(key, created);
    const { id, image, runtime } = created;
    const event = packAny(ContainerCreate, { id, image, runtime: { name: runtime.name, options: undefined } });
    this.#events?.publish(scope.namespace, '/containers/create', event);
    return created;
  }

  async update(scope: Scope, container: NewContainer, mask: UpdateMask = []): Promise<Container> {
    const { id } = container;
    if (id === '') throw invalidArgument('container id must not be empty');
    const current = await this.get(scope, id);
    const paths = mask.length === 0 ? ['labels', 'spec', 'extensions', 'image', 'snapshotkey'] : mask;
    const isOther = current.snapshotter !== container.snapshotter || current.runtime.name !== container.runtime.name;
    if (mask.length === 0 && isOther)
      throw invalidArgument(`snapshotter and runtime of container "${id}" are immutable`);
    const updated = paths.reduce((changed, path) => masked(changed, container, path), current);
    check(updated);
    const stamped = { ...updated, updatedAt: now() };
    this.containers.set(keyOf(scope, id), stamped);
    const { image, labels, snapshotKey } = stamped;
    const event = packAny(ContainerUpdate, { id, image, labels: { ...labels }, snapshotKey });
    this.#events?.publish(scope.namespace, '/containers/update', event);
    return stamped;
  }

  async delete(scope: Scope, id: string): Promise<void> {
    await this.get(scope, id);
    this.containers.delete(keyOf(scope, id));
    this.#events?.publish(scope.namespace, '/containers/delete', packAny(ContainerDelete, { id }));
  }
}
