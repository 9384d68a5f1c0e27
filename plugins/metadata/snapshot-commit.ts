import { SnapshotCommit as SnapshotCommitted } from '../../api/gen/events/snapshot.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import type { CommitSnapshot, Snapshotter } from '../../kernel/contracts/snapshots.js';
import { alreadyExists, invalidArgument, notFound } from '../../kernel/errors.js';
import { failpoint } from '../../lib/failpoint.js';
import { checkLabels, withoutEmpty } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Writer } from '../../lib/sqlite/database.js';
import { type Core, checkName } from './core.js';
import { leaseIt, requireLease, snapshotType, unleaseIt } from './lease-resources.js';
import { snapshotNode } from './node.js';
import { isThere } from './snapshot-create.js';
import { inheritedLabels, type SnapshotRecord, type SnapshotTable } from './snapshot-table.js';

export interface Commit {
  readonly scope: Scope;
  readonly namespace: string;
  readonly snapshotter: string;
  /** Of the committed snapshot. */
  readonly name: string;
  /** Of the active one. */
  readonly key: string;
  readonly options: CommitSnapshot;
}

/**
 * Commit: the backend first, then the record. A crash between the two leaves a
 * committed snapshot that nobody knows, removed by the first collection, and a
 * record of an active one that is gone, which makes room for whoever prepares
 * that key again: never an "already exists" beside a "not found".
 */
export class SnapshotCommit {
  readonly #core: Core;
  readonly #table: SnapshotTable;

  constructor(core: Core, table: SnapshotTable) {
    this.#core = core;
    this.#table = table;
  }

  async run(backend: Snapshotter, commit: Commit): Promise<void> {
    const { namespace, snapshotter, name, key, options, scope } = commit;
    checkName(name, 'snapshot name');
    checkLabels(options.labels ?? {});
    if (scope.lease !== undefined) requireLease(this.#core.database, namespace, scope.lease);
    await this.#table.exclusively(namespace, snapshotter, [name, key], () => this.#commit(backend, commit));
    this.#core.publish(namespace, '/snapshot/commit', packAny(SnapshotCommitted, { key, name, snapshotter }));
  }

  async #commit(backend: Snapshotter, commit: Commit): Promise<void> {
    const { namespace, snapshotter, name, key, options } = commit;
    using _active = this.#core.pins.pin(snapshotNode(namespace, snapshotter, key));
    // What is said to exist must not be collected before the lease has it.
    using _existing = this.#core.pins.pin(snapshotNode(namespace, snapshotter, name));
    await this.#refuseExisting(backend, commit);
    const active = this.#table.get(this.#core.database, namespace, snapshotter, key);
    const { parent: wanted = '' } = options;
    if (wanted !== '' && active.parent !== '' && wanted !== active.parent) {
      throw invalidArgument(`snapshot "${key}" cannot get parent "${wanted}": it has parent "${active.parent}"`);
    }
    const parent = active.parent || wanted;
    using _parent = this.#core.pins.pin(snapshotNode(namespace, snapshotter, parent));
    const below = parent === '' ? undefined : this.#table.find(this.#core.database, namespace, snapshotter, parent);
    if (parent !== '' && !below) throw notFound(`parent snapshot "${parent}" does not exist`);
    const sequence = await this.#core.sequence();
    const backendKey = `${namespace}/${sequence}/${name}`;
    this.#core.snapshotsInTheMaking.add(backendKey);
    try {
      const rebased = active.parent === '' && below ? { parent: below.backendKey } : {};
      await backend.commit(backendKey, active.backendKey, {
        labels: inheritedLabels(options.labels ?? {}),
        ...rebased,
        ...(options.usage === undefined ? {} : { usage: options.usage }),
      });
      failpoint('snap.commit');
      await this.#record(commit, active, { backendKey, sequence, parent });
    } finally {
      this.#core.snapshotsInTheMaking.delete(backendKey);
    }
  }

  async #refuseExisting(backend: Snapshotter, { scope, namespace, snapshotter, name }: Commit): Promise<void> {
    const existing = this.#table.find(this.#core.database, namespace, snapshotter, name);
    if (!existing) return;
    if (!(await isThere(backend, existing.backendKey)) && !this.#table.hasChild(this.#core.database, existing)) {
      await this.#core.remove((sql) => this.#table.forget(sql, existing));
      return;
    }
    await this.#core.mutate((sql) => {
      const node = snapshotNode(namespace, snapshotter, name);
      leaseIt(this.#core, sql, scope, snapshotType(snapshotter), name, node);
    });
    throw alreadyExists(`snapshot "${name}" already exists`);
  }

  async #record(
    { scope, namespace, snapshotter, name, key, options }: Commit,
    active: SnapshotRecord,
    made: { readonly backendKey: string; readonly sequence: bigint; readonly parent: string },
  ): Promise<void> {
    const moment = this.#core.clock.wall();
    const labels = withoutEmpty(options.labels ?? {});
    const record = { namespace, snapshotter, key: name, ...made, labels, createdAt: moment, updatedAt: moment };
    const write = (sql: Writer): void => {
      this.#table.forget(sql, active);
      unleaseIt(sql, scope, snapshotType(snapshotter), key);
      leaseIt(this.#core, sql, scope, snapshotType(snapshotter), name, snapshotNode(namespace, snapshotter, name));
      this.#table.write(sql, record);
    };
    await this.#core.mutate(write).catch((error: unknown) => {
      this.#core.unrecordedSnapshots.add(snapshotter);
      this.#core.noticeGarbage();
      throw error;
    });
  }
}
