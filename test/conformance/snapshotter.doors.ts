/** Further ways to a snapshotter, on which its kit is run too: through a kernel, and over gRPC through all layers. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type Info, Kind } from '../../api/gen/services/snapshots.js';
import { type CallOptions, type Client, connect } from '../../client/index.js';
import {
  type SnapshotInfo,
  type SnapshotKind,
  type Snapshotter,
  Snapshotters,
} from '../../kernel/contracts/snapshots.js';
import { hasCode, internal, notFound } from '../../kernel/errors.js';
import { toSize } from '../../lib/rpc/int64.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import { startTestKernel } from '../harness/kernel.js';
import type { OpenSnapshotter } from './snapshotter.workbench.js';

/** A plugin of the tree and the wire id of the snapshotter it provides. */
export interface Provider {
  readonly plugin: string;
  readonly wireId: string;
}

/** Opens the snapshotter that a kernel with only that plugin has, on its own directory below `root`. */
export async function throughKernel({ plugin, wireId }: Provider, root: string): Promise<OpenSnapshotter> {
  const kernel = await startTestKernel({ plugins: [plugin], directory: root });
  const snapshotter = kernel.get(Snapshotters).get(wireId);
  if (snapshotter === undefined) throw notFound(`plugin "${plugin}" provides no snapshotter "${wireId}"`);
  return { snapshotter, close: () => kernel.stop() };
}

const LEASE = 'kit';

const KINDS: ReadonlyMap<Kind, SnapshotKind> = new Map([
  [Kind.VIEW, 'view'],
  [Kind.ACTIVE, 'active'],
  [Kind.COMMITTED, 'committed'],
]);

export function snapshotOf(info: Info | undefined): SnapshotInfo {
  const kind = info && KINDS.get(info.kind);
  if (info === undefined || kind === undefined) throw internal('the answer holds no snapshot of a known kind');
  const { name, parent, labels, createdAt, updatedAt } = info;
  return { kind, name, parent, labels, createdAt: fromTimestamp(createdAt), updatedAt: fromTimestamp(updatedAt) };
}

/** Opens the snapshotter behind the gRPC service of a daemon, with records and collector between. */
export async function throughGrpc(
  { plugin, wireId: snapshotter }: Provider,
  root: string,
  capabilities: readonly string[],
): Promise<OpenSnapshotter> {
  const address = join(root, 's');
  const kernel = await startTestKernel({
    plugins: ['content', 'events', 'metadata', plugin, 'snapshots-service', 'leases-service', 'server-grpc'],
    config: { 'server-grpc': { address } },
    directory: root,
  });
  const client = connect({ address, namespace: 'kit' });
  const close = async (): Promise<void> => {
    client[Symbol.dispose]();
    await kernel.stop();
  };
  try {
    return { snapshotter: await overClient(client, snapshotter, capabilities), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The snapshotter of that name at any daemon, ours or stock containerd, in the namespace of the client. */
export async function overClient(
  client: Client,
  snapshotter: string,
  capabilities: readonly string[],
): Promise<Snapshotter> {
  await holdAll(client);
  return snapshotterOver(client, snapshotter, capabilities);
}

/** Nothing but a lease keeps the collector away from what the checks make. */
async function holdAll(client: Client): Promise<void> {
  try {
    await client.leases.create({ id: LEASE });
  } catch (error) {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  }
}

/** How the kit opens a snapshotter of a daemon that it must not restart: each directory stands for a namespace. */
export class RemoteSnapshots implements AsyncDisposable {
  readonly #address: string;
  readonly #wireId: string;
  readonly #capabilities: readonly string[];
  #current: { readonly directory: string; readonly client: Client } | undefined;

  constructor(address: string, wireId: string, capabilities: readonly string[]) {
    this.#address = address;
    this.#wireId = wireId;
    this.#capabilities = capabilities;
  }

  async open(directory: string): Promise<OpenSnapshotter> {
    if (this.#current?.directory !== directory) {
      await this[Symbol.asyncDispose]();
      const client = connect({ address: this.#address, namespace: `kit-${randomUUID()}` });
      this.#current = { directory, client };
    }
    const snapshotter = await overClient(this.#current.client, this.#wireId, this.#capabilities);
    return { snapshotter, close: async () => {} };
  }

  /** Removes the snapshots, children first, and the namespace. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#current === undefined) return;
    const { client } = this.#current;
    this.#current = undefined;
    const snapshotter = snapshotterOver(client, this.#wireId, []);
    for (let left = -1; left !== 0; ) {
      const infos = await Array.fromAsync(snapshotter.walk());
      if (infos.length === left) throw internal(`${left} snapshots cannot be removed`);
      left = infos.length;
      const parents = new Set(infos.map(({ parent }) => parent));
      for (const { name } of infos.filter((info) => !parents.has(info.name))) await snapshotter.remove(name);
    }
    await client.leases.delete({ id: LEASE, sync: true });
    await client.namespaces.delete({ name: client.namespace ?? '' });
    client[Symbol.dispose]();
  }
}

/** The snapshotter that a client sees in its namespace; what is made there is held by the lease, or by none. */
export function snapshotterOver(
  client: Client,
  snapshotter: string,
  capabilities: readonly string[],
  leased: CallOptions = { lease: LEASE },
): Snapshotter {
  const { snapshots } = client;
  const mask = (paths: readonly string[] | undefined) => (paths === undefined ? {} : { updateMask: [...paths] });
  return {
    capabilities,
    stat: async (key) => snapshotOf((await snapshots.stat({ snapshotter, key })).info),
    update: async (name, labels, paths) =>
      snapshotOf((await snapshots.update({ snapshotter, info: { name, labels: { ...labels } }, ...mask(paths) })).info),
    async usage(key) {
      const { inodes, size } = await snapshots.usage({ snapshotter, key });
      return { inodes: toSize(inodes, 'inodes'), size: toSize(size, 'size') };
    },
    mounts: async (key) => (await snapshots.mounts({ snapshotter, key })).mounts,
    prepare: async (key, parent, labels = {}) =>
      (await snapshots.prepare({ snapshotter, key, parent, labels: { ...labels } }, leased)).mounts,
    view: async (key, parent, labels = {}) =>
      (await snapshots.view({ snapshotter, key, parent, labels: { ...labels } }, leased)).mounts,
    async commit(name, key, { labels = {}, parent = '' } = {}) {
      await snapshots.commit({ snapshotter, name, key, labels: { ...labels }, parent }, leased);
    },
    async remove(key) {
      await snapshots.remove({ snapshotter, key }, leased);
    },
    async *walk() {
      for await (const { info } of snapshots.list({ snapshotter })) for (const one of info) yield snapshotOf(one);
    },
    async cleanup() {
      await snapshots.cleanup({ snapshotter });
    },
  };
}
