import { SnapshotRemove } from '../../api/gen/events/snapshot.js';
import type { Labels, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import type {
  CommitSnapshot,
  Mount,
  SnapshotInfo,
  Snapshots,
  Snapshotter,
  Usage,
  ViewSnapshot,
} from '../../kernel/contracts/snapshots.js';
import { failedPrecondition, hasCode, invalidArgument } from '../../kernel/errors.js';
import { compileFilters, type Fields, mapField } from '../../lib/filters/filters.js';
import { updateLabels } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import { type Core, namespaceOf } from './core.js';
import { snapshotType, unleaseIt } from './lease-resources.js';
import { snapshotNode } from './node.js';
import { SnapshotCommit } from './snapshot-commit.js';
import { type NewSnapshot, SnapshotCreation } from './snapshot-create.js';
import type { DoubtfulSnapshots } from './snapshot-doubts.js';
import { inheritedLabels, isInherited, type SnapshotRecord, SnapshotTable } from './snapshot-table.js';

const fieldsOf =
  ({ kind, name, parent, labels }: SnapshotInfo): Fields =>
  ([first, ...rest]) => {
    switch (first) {
      case 'kind':
        return kind;
      case 'name':
        return name;
      case 'parent':
        return parent;
      case 'labels':
        return mapField(labels, rest);
      default:
        return undefined;
    }
  };

/** What the backend says, under the names and with the labels of the namespace. */
const overlaid = (info: SnapshotInfo, { key, parent, labels, createdAt, updatedAt }: SnapshotRecord): SnapshotInfo => ({
  kind: info.kind,
  name: key,
  parent,
  createdAt,
  updatedAt,
  labels: { ...info.labels, ...labels },
});

/** Mask paths that concern labels the backend has. */
const backendMask = (mask: UpdateMask): UpdateMask =>
  mask.filter((path) => path === 'labels' || isInherited(path.slice('labels.'.length)));

export interface SnapshotOptions {
  readonly backends: ReadonlyMap<string, Snapshotter>;
  readonly defaultSnapshotter: string;
  readonly doubts: DoubtfulSnapshots;
}

/** Snapshots as one namespace sees them. */
export class SnapshotRecords implements Snapshots {
  readonly #core: Core;
  readonly #table: SnapshotTable;
  readonly #creation: SnapshotCreation;
  readonly #commit: SnapshotCommit;
  readonly #backends: ReadonlyMap<string, Snapshotter>;
  readonly #default: string;
  readonly #doubts: DoubtfulSnapshots;

  constructor(core: Core, { backends, defaultSnapshotter, doubts }: SnapshotOptions) {
    this.#core = core;
    this.#table = new SnapshotTable(core);
    this.#creation = new SnapshotCreation(core, this.#table);
    this.#commit = new SnapshotCommit(core, this.#table);
    this.#backends = backends;
    this.#default = defaultSnapshotter;
    this.#doubts = doubts;
  }

  async stat(scope: Scope, snapshotter: string, key: string): Promise<SnapshotInfo> {
    const record = this.#record(scope, snapshotter, key);
    return overlaid(await this.#backend(snapshotter).stat(record.backendKey), record);
  }

  async update(
    scope: Scope,
    snapshotter: string,
    key: string,
    labels: Labels,
    mask: UpdateMask = [],
  ): Promise<SnapshotInfo> {
    const namespace = namespaceOf(scope);
    const backend = this.#backend(snapshotter);
    using _pin = this.#core.pins.pin(snapshotNode(namespace, snapshotter, key));
    return await this.#table.exclusively(namespace, snapshotter, [key], async () => {
      const record = this.#record(scope, snapshotter, key);
      const updated = updateLabels(`snapshot "${key}"`, record.labels, labels, mask);
      const paths = backendMask(mask.length === 0 ? ['labels'] : mask);
      const info =
        paths.length === 0
          ? await backend.stat(record.backendKey)
          : await backend.update(record.backendKey, inheritedLabels(updated), paths);
      const next = { ...record, labels: updated, updatedAt: this.#core.clock.wall() };
      await this.#core.mutate((sql) => this.#table.write(sql, next));
      return overlaid(info, next);
    });
  }

  async usage(scope: Scope, snapshotter: string, key: string): Promise<Usage> {
    return this.#backend(snapshotter).usage(this.#record(scope, snapshotter, key).backendKey);
  }

  async mounts(scope: Scope, snapshotter: string, key: string): Promise<readonly Mount[]> {
    const record = this.#record(scope, snapshotter, key);
    await this.#doubts.settledFor(record);
    return this.#backend(snapshotter).mounts(record.backendKey);
  }

  prepare(
    scope: Scope,
    snapshotter: string,
    key: string,
    parent: string,
    labels: Labels = {},
  ): Promise<readonly Mount[]> {
    return this.#create('prepare', scope, snapshotter, { key, parent, labels, lasting: true });
  }

  view(
    scope: Scope,
    snapshotter: string,
    key: string,
    parent: string,
    labels: Labels = {},
    { lasting = true }: ViewSnapshot = {},
  ): Promise<readonly Mount[]> {
    return this.#create('view', scope, snapshotter, { key, parent, labels, lasting });
  }

  async commit(
    scope: Scope,
    snapshotter: string,
    name: string,
    key: string,
    options: CommitSnapshot = {},
  ): Promise<void> {
    const namespace = namespaceOf(scope);
    const backend = this.#backend(snapshotter);
    await this.#commit.run(backend, { scope, namespace, snapshotter, name, key, options });
  }

  async remove(scope: Scope, snapshotter: string, key: string): Promise<void> {
    const namespace = namespaceOf(scope);
    this.#backend(snapshotter);
    await this.#table.exclusively(namespace, snapshotter, [key], () =>
      this.#core.remove((sql) => {
        const record = this.#table.get(sql, namespace, snapshotter, key);
        if (this.#table.hasChild(sql, record)) {
          throw failedPrecondition(`cannot remove snapshot "${key}": it has children`, {
            remedy: 'remove the snapshots made on it first',
          });
        }
        this.#table.delete(sql, record);
        unleaseIt(sql, scope, snapshotType(snapshotter), key);
      }),
    );
    this.#core.publish(namespace, '/snapshot/remove', packAny(SnapshotRemove, { key, snapshotter }));
  }

  async *walk(scope: Scope, snapshotter: string, filters?: readonly string[]): AsyncIterable<SnapshotInfo> {
    const namespace = namespaceOf(scope);
    const backend = this.#backend(snapshotter);
    const matches = compileFilters(filters);
    for await (const record of this.#table.walk(namespace, snapshotter)) {
      const info = await statIfThere(backend, record.backendKey);
      if (!info) continue;
      const shown = overlaid(info, record);
      if (matches(fieldsOf(shown))) yield shown;
    }
  }

  async cleanup(_scope: Scope, snapshotter: string): Promise<void> {
    await this.#backend(snapshotter).cleanup();
  }

  names(): readonly string[] {
    const names = [...this.#backends.keys()].sort();
    const first = names.filter((name) => name === this.#default);
    return [...first, ...names.filter((name) => name !== this.#default)];
  }

  capabilities(snapshotter: string): readonly string[] {
    return this.#backend(snapshotter).capabilities;
  }

  async #create(
    kind: 'prepare' | 'view',
    scope: Scope,
    snapshotter: string,
    wanted: Pick<NewSnapshot, 'key' | 'parent' | 'labels' | 'lasting'>,
  ): Promise<readonly Mount[]> {
    const backend = this.#backend(snapshotter);
    const below = this.#table.find(this.#core.database, namespaceOf(scope), snapshotter, wanted.parent);
    if (below) await this.#doubts.settledFor(below);
    return this.#creation.run(backend, { scope, namespace: namespaceOf(scope), snapshotter, kind, ...wanted });
  }

  #backend(name: string): Snapshotter {
    if (name === '') throw invalidArgument('snapshotter argument missing');
    const backend = this.#backends.get(name);
    if (backend) return backend;
    throw invalidArgument(`snapshotter not loaded: "${name}"`, { remedy: `loaded are: ${this.names().join(', ')}` });
  }

  #record(scope: Scope, snapshotter: string, key: string): SnapshotRecord {
    const namespace = namespaceOf(scope);
    this.#backend(snapshotter);
    return this.#table.get(this.#core.database, namespace, snapshotter, key);
  }
}

/** A record whose snapshot the backend has lost is not listed. */
async function statIfThere(backend: Snapshotter, backendKey: string): Promise<SnapshotInfo | undefined> {
  try {
    return await backend.stat(backendKey);
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}
