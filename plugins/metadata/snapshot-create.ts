import { SnapshotPrepare } from '../../api/gen/events/snapshot.js';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import type { Mount, SnapshotInfo, Snapshotter } from '../../kernel/contracts/snapshots.js';
import { alreadyExists, dataLoss, hasCode, internal, invalidArgument, notFound } from '../../kernel/errors.js';
import { failpoint } from '../../lib/failpoint.js';
import { checkLabels, labelOf, withoutEmpty } from '../../lib/labels.js';
import { packAny } from '../../lib/rpc/any.js';
import type { Writer } from '../../lib/sqlite/database.js';
import { type Core, checkName, touchNamespace } from './core.js';
import { leaseIt, requireLease, snapshotType } from './lease-resources.js';
import { snapshotNode } from './node.js';
import { inheritedLabels, SNAPSHOT_REF, type SnapshotRecord, type SnapshotTable } from './snapshot-table.js';

export interface NewSnapshot {
  readonly scope: Scope;
  readonly namespace: string;
  readonly snapshotter: string;
  readonly kind: 'prepare' | 'view';
  readonly key: string;
  /** Empty for a base. */
  readonly parent: string;
  readonly labels: Labels;
  /** Survives a power cut. */
  readonly lasting: boolean;
}

/** A snapshot that the backend made; it may still have to flush it. */
interface New {
  readonly mounts: readonly Mount[];
  readonly flushed: Promise<void>;
}

/** What the backend made: a snapshot, or the news that it has the target already. */
type Made = New | { readonly target: SnapshotInfo };

/**
 * Prepare and View. The backend makes the snapshot first, under a name of its
 * own that is never used twice, then it is recorded; what a crash leaves
 * between the two is removed by the first collection after it.
 *
 * A caller may say by the label `containerd.io/snapshot.ref` which committed
 * snapshot the prepared one shall become. When that is there already, in the
 * records or, for a snapshotter that fetches layers itself, in the backend,
 * the answer is ALREADY_EXISTS and the caller need not make it.
 */
export class SnapshotCreation {
  readonly #core: Core;
  readonly #table: SnapshotTable;

  constructor(core: Core, table: SnapshotTable) {
    this.#core = core;
    this.#table = table;
  }

  async run(backend: Snapshotter, wanted: NewSnapshot): Promise<readonly Mount[]> {
    const { scope, namespace, snapshotter, kind, key, parent } = wanted;
    checkName(key, 'snapshot key');
    checkLabels(wanted.labels);
    if (scope.lease !== undefined) requireLease(this.#core.database, namespace, scope.lease);
    const target = labelOf(wanted.labels, SNAPSHOT_REF);
    using _pins = new DisposableStack();
    for (const pinned of [parent, key, target ?? key]) {
      _pins.use(this.#core.pins.pin(snapshotNode(namespace, snapshotter, pinned)));
    }
    if (target !== undefined) await this.#refuseExisting(backend, wanted, target, 'target snapshot');
    await this.#refuseExisting(backend, wanted, key, 'snapshot');
    const below = parent === '' ? undefined : this.#table.find(this.#core.database, namespace, snapshotter, parent);
    if (parent !== '' && !below) throw notFound(`parent snapshot "${parent}" does not exist`);
    const mounts = await this.#make(backend, wanted, below, target);
    if (kind === 'prepare') {
      this.#core.publish(namespace, '/snapshot/prepare', packAny(SnapshotPrepare, { key, parent, snapshotter }));
    }
    return mounts;
  }

  /** ALREADY_EXISTS, with the existing snapshot in the caller's lease; one that the backend has lost makes room. */
  async #refuseExisting(
    backend: Snapshotter,
    { scope, namespace, snapshotter }: NewSnapshot,
    key: string,
    what: string,
  ) {
    const existing = this.#table.find(this.#core.database, namespace, snapshotter, key);
    if (!existing) return;
    if (!(await isThere(backend, existing.backendKey))) return this.#forget(existing);
    await this.#core.mutate((sql) => {
      const node = snapshotNode(namespace, snapshotter, key);
      leaseIt(this.#core, sql, scope, snapshotType(snapshotter), key, node);
    });
    throw alreadyExists(`${what} "${key}" already exists`);
  }

  async #forget(record: SnapshotRecord): Promise<void> {
    this.#core.log.warn({ snapshot: record.key, snapshotter: record.snapshotter }, 'snapshotter lost a snapshot');
    await this.#core.remove((sql) => {
      if (this.#table.hasChild(sql, record)) {
        throw dataLoss(`snapshot "${record.key}" is recorded, but "${record.snapshotter}" has lost it`, {
          remedy: 'remove the snapshots made on it, then make it again',
        });
      }
      this.#table.forget(sql, record);
    });
  }

  async #make(
    backend: Snapshotter,
    wanted: NewSnapshot,
    parent: SnapshotRecord | undefined,
    target: string | undefined,
  ): Promise<readonly Mount[]> {
    const sequence = await this.#core.sequence();
    const backendKey = `${wanted.namespace}/${sequence}/${wanted.key}`;
    this.#core.snapshotsInTheMaking.add(backendKey);
    try {
      const made = await this.#ask(backend, wanted, backendKey, parent, target);
      failpoint('snap.meta');
      if ('target' in made) return await this.#adopt(wanted, made.target, parent, target ?? '');
      await this.#record(backend, wanted, backendKey, sequence, made.flushed);
      return made.mounts;
    } finally {
      this.#core.snapshotsInTheMaking.delete(backendKey);
    }
  }

  async #ask(
    backend: Snapshotter,
    { kind, labels, lasting }: NewSnapshot,
    backendKey: string,
    parent: SnapshotRecord | undefined,
    target: string | undefined,
  ): Promise<Made> {
    const below = parent?.backendKey ?? '';
    try {
      const inherited = inheritedLabels(labels);
      if (kind === 'view') {
        return { mounts: await backend.view(backendKey, below, inherited, { lasting }), flushed: Promise.resolve() };
      }
      return await prepare(backend, backendKey, below, inherited);
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND') && parent && !(await isThere(backend, below))) {
        throw notFound(`parent snapshot "${parent.key}" is recorded, but "${parent.snapshotter}" has lost it`, {
          remedy: 'remove it and pull the image again',
          cause: error,
        });
      }
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      // Our name was new, so nobody but the caller's target can be meant.
      if (target === undefined) throw internal(`snapshotter answered "already exists" for a new key`, { cause: error });
      return { target: await findTarget(backend, target, below) };
    }
  }

  /** While the backend flushes what it made, its record is written and flushed too. */
  async #record(
    backend: Snapshotter,
    wanted: NewSnapshot,
    backendKey: string,
    sequence: bigint,
    flushed: Promise<void>,
  ): Promise<void> {
    const moment = this.#core.clock.wall();
    const { namespace, snapshotter, key, parent, labels, lasting } = wanted;
    const times = { createdAt: moment, updatedAt: moment };
    const record = {
      namespace,
      snapshotter,
      key,
      backendKey,
      sequence,
      parent,
      labels: withoutEmpty(labels),
      ...times,
    };
    const inserted = this.#core.mutate((sql) => this.#insert(sql, wanted.scope, record), { durable: lasting });
    const [recorded, kept] = await Promise.allSettled([inserted, flushed]);
    if (recorded.status === 'rejected') {
      await backend.remove(backendKey);
      throw recorded.reason;
    }
    if (kept.status === 'fulfilled') return;
    await this.#core.remove((sql) => this.#table.delete(sql, record));
    throw kept.reason;
  }

  /** Records what the backend has under the target's name, and tells the caller: ALREADY_EXISTS. */
  async #adopt(
    wanted: NewSnapshot,
    { name: backendKey, createdAt, updatedAt, labels: backendLabels }: SnapshotInfo,
    parent: SnapshotRecord | undefined,
    target: string,
  ): Promise<never> {
    const { namespace, snapshotter, scope } = wanted;
    const labels = withoutEmpty({ ...backendLabels, ...wanted.labels });
    const sequence = await this.#core.sequence();
    const names = { namespace, snapshotter, key: target, backendKey, sequence, parent: parent?.key ?? '' };
    await this.#core.backendLock.run(`${snapshotter}\0${backendKey}`, () =>
      this.#core.mutate((sql) => this.#insert(sql, scope, { ...names, labels, createdAt, updatedAt })),
    );
    throw alreadyExists(`target snapshot "${target}" already exists in "${snapshotter}"`);
  }

  #insert(sql: Writer, scope: Scope, record: SnapshotRecord): void {
    const { namespace, snapshotter, key, parent } = record;
    if (this.#table.find(sql, namespace, snapshotter, key)) throw alreadyExists(`snapshot "${key}" already exists`);
    if (parent !== '' && !this.#table.find(sql, namespace, snapshotter, parent)) {
      throw notFound(`parent snapshot "${parent}" does not exist`);
    }
    touchNamespace(sql, namespace);
    leaseIt(this.#core, sql, scope, snapshotType(snapshotter), key, snapshotNode(namespace, snapshotter, key));
    this.#table.write(sql, record);
  }
}

async function prepare(backend: Snapshotter, key: string, parent: string, labels: Labels): Promise<New> {
  let flushed = Promise.resolve();
  const onDisk = (promise: Promise<void>): void => {
    flushed = promise;
    // It may fail before it is waited for.
    promise.catch(() => {});
  };
  const mounts = await backend.prepare(key, parent, labels, { onDisk });
  return { mounts, flushed };
}

export async function isThere(backend: Snapshotter, backendKey: string): Promise<boolean> {
  try {
    await backend.stat(backendKey);
    return true;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

async function findTarget(backend: Snapshotter, target: string, parent: string): Promise<SnapshotInfo> {
  for await (const info of backend.walk()) {
    const isTarget = info.kind === 'committed' && labelOf(info.labels, SNAPSHOT_REF) === target;
    if (isTarget && info.parent === parent) return info;
    if (isTarget) throw invalidArgument(`target snapshot "${target}" has another parent in the snapshotter`);
  }
  throw notFound(`target snapshot "${target}" not found in the snapshotter`);
}
