/** The services of namespaced records as a client of a daemon has them, ours or another. */
import { createHash } from 'node:crypto';
import type { Info as ContentMessage } from '../../api/gen/services/content.js';
import type { Image as ImageMessage } from '../../api/gen/services/images.js';
import type { Lease as LeaseMessage } from '../../api/gen/services/leases.js';
import type { Namespace as NamespaceMessage } from '../../api/gen/services/namespaces.js';
import type { CallOptions, Client, Container as ContainerMessage } from '../../client/index.js';
import type { Container, Containers, NewContainer } from '../../kernel/contracts/containers.js';
import type { Content, ContentInfo } from '../../kernel/contracts/content.js';
import type { Image, Images, NewImage } from '../../kernel/contracts/images.js';
import type { GarbageCollector, Lease, Leases } from '../../kernel/contracts/leases.js';
import type { Namespace, Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Sandbox, Sandboxes } from '../../kernel/contracts/sandboxes.js';
import type { AnyMessage, Scope, UpdateMask } from '../../kernel/contracts/scope.js';
import type { Snapshots } from '../../kernel/contracts/snapshots.js';
import { internal, invalidArgument } from '../../kernel/errors.js';
import { fromDescriptorMessage, toDescriptorMessage } from '../../lib/rpc/descriptor.js';
import { toSize } from '../../lib/rpc/int64.js';
import { fromSandboxMessage, type SandboxMessage, toSandboxMessage } from '../../lib/rpc/sandbox.js';
import { fromTimestamp, toTimestamp } from '../../lib/rpc/timestamp.js';
import { remoteReader, remoteStatus, remoteStatuses, remoteWriter } from './content.remote.js';
import type { MetadataServices } from './metadata.workbench.js';
import { snapshotOf, snapshotterOver } from './snapshotter.doors.js';

/** The client of a namespace, and what else of a scope goes with a call. */
export type Place = (scope: Scope) => { readonly client: Client; readonly on: CallOptions };

/** Reads as long as a client would to know that a blob is sound. */
const CHUNK = 1 << 20;

const masked = (mask: UpdateMask | undefined) => (mask === undefined ? {} : { updateMask: [...mask] });

/** Without what else a message of that kind has, and its bytes as no other kind of array. */
const plainAny = ({ typeUrl, value }: AnyMessage) => ({ typeUrl, value: Uint8Array.from(value) });

const plainAnys = (anys: Readonly<Record<string, AnyMessage>>) =>
  Object.fromEntries(Object.entries(anys).map(([name, any]) => [name, plainAny(any)]));

function answered<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw internal(`the answer holds no ${what}`);
  return value;
}

const contentOf = ({ digest, size, labels, createdAt, updatedAt }: ContentMessage): ContentInfo => ({
  digest,
  size: toSize(size, 'size'),
  labels,
  createdAt: fromTimestamp(createdAt),
  updatedAt: fromTimestamp(updatedAt),
});

const remoteContent = (at: Place): Content => ({
  info: async (scope, digest) => contentOf(answered((await at(scope).client.content.info({ digest })).info, 'content')),
  async update(scope, digest, labels, mask) {
    const info = { digest, labels: { ...labels } };
    return contentOf(answered((await at(scope).client.content.update({ info, ...masked(mask) })).info, 'content'));
  },
  async *walk(scope, filters = []) {
    const list = at(scope).client.content.list({ filters: [...filters] });
    for await (const { info } of list) for (const one of info) yield contentOf(one);
  },
  reader: (scope, digest) => remoteReader(at(scope).client, digest),
  async verify(scope, digest) {
    const reader = await this.reader(scope, digest);
    const hash = createHash('sha256');
    const chunk = Buffer.alloc(CHUNK);
    for (let offset = 0; offset < reader.size; offset += CHUNK)
      hash.update(chunk.subarray(0, await reader.read(chunk, offset)));
    await reader.close();
    return digest === `sha256:${hash.digest('hex')}`;
  },
  async writer(scope, options) {
    const { client, on } = at(scope);
    const writer = await remoteWriter(client, options, on);
    return {
      status: () => writer.status(),
      digest: () => writer.digest(),
      write: (chunk) => writer.write(chunk),
      truncate: (size) => writer.truncate(size),
      close: () => writer.close(),
      commit: async (expectation) => this.info(scope, (await writer.commit(expectation)).digest),
    };
  },
  async delete(scope, digest) {
    const { client, on } = at(scope);
    await client.content.delete({ digest }, on);
  },
  status: (scope, ref) => remoteStatus(at(scope).client, ref),
  statuses: (scope, filters) => remoteStatuses(at(scope).client, filters),
  async abort(scope, ref) {
    const { client, on } = at(scope);
    await client.content.abort({ ref }, on);
  },
});

/** `names`: of the snapshotters that the daemon has, as its introspection tells. */
function remoteSnapshots(at: Place, names: readonly string[]): Snapshots {
  const on = (scope: Scope, snapshotter: string) => {
    const { client, on: options } = at(scope);
    return snapshotterOver(client, snapshotter, [], options);
  };
  return {
    names: () => names,
    capabilities(snapshotter) {
      if (!names.includes(snapshotter)) throw invalidArgument(`there is no snapshotter "${snapshotter}"`);
      return [];
    },
    stat: (scope, snapshotter, key) => on(scope, snapshotter).stat(key),
    update: (scope, snapshotter, key, labels, mask) => on(scope, snapshotter).update(key, labels, mask),
    usage: (scope, snapshotter, key) => on(scope, snapshotter).usage(key),
    mounts: (scope, snapshotter, key) => on(scope, snapshotter).mounts(key),
    prepare: (scope, snapshotter, key, parent, labels) => on(scope, snapshotter).prepare(key, parent, labels),
    view: (scope, snapshotter, key, parent, labels) => on(scope, snapshotter).view(key, parent, labels),
    commit: (scope, snapshotter, name, key, options) => on(scope, snapshotter).commit(name, key, options),
    remove: (scope, snapshotter, key) => on(scope, snapshotter).remove(key),
    cleanup: (scope, snapshotter) => on(scope, snapshotter).cleanup(),
    async *walk(scope, snapshotter, filters = []) {
      const list = at(scope).client.snapshots.list({ snapshotter, filters: [...filters] });
      for await (const { info } of list) for (const one of info) yield snapshotOf(one);
    },
  };
}

function imageOf(message: ImageMessage | undefined): Image {
  const { name, labels, target, createdAt, updatedAt } = answered(message, 'image');
  const times = { createdAt: fromTimestamp(createdAt), updatedAt: fromTimestamp(updatedAt) };
  return { name, labels, target: fromDescriptorMessage(target, 'target of the image'), ...times };
}

const imageRequest = ({ name, labels = {}, target, createdAt }: NewImage) => ({
  image: { name, labels: { ...labels }, target: toDescriptorMessage(target) },
  ...(createdAt !== undefined && { sourceDateEpoch: toTimestamp(createdAt) }),
});

const remoteImages = (at: Place): Images => ({
  get: async (scope, name) => imageOf((await at(scope).client.images.get({ name })).image),
  list: async (scope, filters = []) =>
    (await at(scope).client.images.list({ filters: [...filters] })).images.map(imageOf),
  async create(scope, image) {
    const { client, on } = at(scope);
    return imageOf((await client.images.create(imageRequest(image), on)).image);
  },
  async update(scope, image, mask) {
    const { client, on } = at(scope);
    return imageOf((await client.images.update({ ...imageRequest(image), ...masked(mask) }, on)).image);
  },
  async delete(scope, name, { sync = false, target } = {}) {
    const { client, on } = at(scope);
    await client.images.delete({ name, sync, ...(target && { target: toDescriptorMessage(target) }) }, on);
  },
});

function containerOf(message: ContainerMessage | undefined): Container {
  const { runtime, spec, extensions, createdAt, updatedAt, ...rest } = answered(message, 'container');
  const { name, options } = answered(runtime, 'runtime');
  return {
    ...rest,
    runtime: { name, ...(options && { options: plainAny(options) }) },
    spec: plainAny(answered(spec, 'spec')),
    extensions: plainAnys(extensions),
    createdAt: fromTimestamp(createdAt),
    updatedAt: fromTimestamp(updatedAt),
  };
}

const containerRequest = ({ labels, runtime, spec, extensions, ...rest }: NewContainer) => ({
  container: {
    ...rest,
    labels: { ...labels },
    runtime: { name: runtime.name, ...(runtime.options && { options: plainAny(runtime.options) }) },
    spec: plainAny(spec),
    extensions: plainAnys(extensions),
  },
});

const remoteContainers = (at: Place): Containers => ({
  get: async (scope, id) => containerOf((await at(scope).client.containers.get({ id })).container),
  list: async (scope, filters = []) =>
    (await at(scope).client.containers.list({ filters: [...filters] })).containers.map(containerOf),
  create: async (scope, container) =>
    containerOf((await at(scope).client.containers.create(containerRequest(container))).container),
  update: async (scope, container, mask) =>
    containerOf(
      (await at(scope).client.containers.update({ ...containerRequest(container), ...masked(mask) })).container,
    ),
  async delete(scope, id) {
    await at(scope).client.containers.delete({ id });
  },
});

function sandboxOf(message: SandboxMessage | undefined): Sandbox {
  const { createdAt, updatedAt } = answered(message, 'sandbox');
  const { runtime, spec, extensions, ...rest } = fromSandboxMessage(message);
  return {
    ...rest,
    runtime: { name: runtime.name, ...(runtime.options && { options: plainAny(runtime.options) }) },
    ...(spec && { spec: plainAny(spec) }),
    extensions: plainAnys(extensions),
    createdAt: fromTimestamp(createdAt),
    updatedAt: fromTimestamp(updatedAt),
  };
}

const remoteSandboxes = (at: Place): Sandboxes => ({
  get: async (scope, id) => sandboxOf((await at(scope).client.sandboxes.get({ sandboxId: id })).sandbox),
  list: async (scope, filters = []) =>
    (await at(scope).client.sandboxes.list({ filters: [...filters] })).list.map(sandboxOf),
  async create(scope, sandbox) {
    const request = { sandbox: toSandboxMessage(sandbox) };
    return sandboxOf((await at(scope).client.sandboxes.create(request)).sandbox);
  },
  async update(scope, sandbox, mask = []) {
    const request = { sandbox: toSandboxMessage(sandbox), fields: [...mask] };
    return sandboxOf((await at(scope).client.sandboxes.update(request)).sandbox);
  },
  async delete(scope, id) {
    await at(scope).client.sandboxes.delete({ sandboxId: id });
  },
});

function leaseOf(message: LeaseMessage | undefined): Lease {
  const { id, labels, createdAt } = answered(message, 'lease');
  return { id, labels, createdAt: fromTimestamp(createdAt) };
}

const remoteLeases = (at: Place): Leases => ({
  create: async (scope, { id = '', labels = {} }) =>
    leaseOf((await at(scope).client.leases.create({ id, labels: { ...labels } })).lease),
  async delete(scope, id, { sync = false } = {}) {
    await at(scope).client.leases.delete({ id, sync });
  },
  list: async (scope, filters = []) =>
    (await at(scope).client.leases.list({ filters: [...filters] })).leases.map(leaseOf),
  async addResource(scope, id, resource) {
    await at(scope).client.leases.addResource({ id, resource: { ...resource } });
  },
  async deleteResource(scope, id, resource) {
    await at(scope).client.leases.deleteResource({ id, resource: { ...resource } });
  },
  resources: async (scope, id) => (await at(scope).client.leases.listResources({ id })).resources,
});

/** Names go to the daemon behind the prefix, and come back without it; what has none is not seen. */
function remoteNamespaces({ namespaces }: Client, prefix: string): Namespaces {
  const within = ({ name, labels }: NamespaceMessage): Namespace => ({ name: name.slice(prefix.length), labels });
  const request = ({ name, labels }: Namespace) => ({ namespace: { name: prefix + name, labels: { ...labels } } });
  return {
    get: async (name) => within(answered((await namespaces.get({ name: prefix + name })).namespace, 'namespace')),
    list: async () => (await namespaces.list({})).namespaces.filter(({ name }) => name.startsWith(prefix)).map(within),
    create: async (namespace) => within(answered((await namespaces.create(request(namespace))).namespace, 'namespace')),
    update: async (namespace, mask) =>
      within(answered((await namespaces.update({ ...request(namespace), ...masked(mask) })).namespace, 'namespace')),
    async delete(name) {
      await namespaces.delete({ name: prefix + name });
    },
  };
}

/** The wire has no call for a collection; but whoever deletes a lease may wait for one. */
const remoteCollector = (client: Client): GarbageCollector => ({
  async collect() {
    const { lease } = await client.leases.create({});
    await client.leases.delete({ id: answered(lease, 'lease').id, sync: true });
    return { duration: 0, longestPause: 0, contentRemoved: 0, snapshotsRemoved: 0 };
  },
});

/** What the header that names a namespace may hold. */
const SENDABLE = /^[\x20-\x7e]+$/;

export interface RemoteMetadata {
  readonly client: Client;
  /** Of the namespaces at the daemon that the kit is given. */
  readonly prefix: string;
  /** Of the snapshotters that the daemon has. */
  readonly snapshotters: readonly string[];
  /** Whether the daemon has records of sandboxes: containerd since 1.7. */
  readonly hasSandboxes: boolean;
  /** The namespace in which collections are asked for: nothing is in it, and the kit is not given it. */
  readonly collections: string;
}

export function remoteMetadata({
  client,
  prefix,
  snapshotters,
  hasSandboxes,
  collections,
}: RemoteMetadata): MetadataServices {
  const at: Place = ({ namespace, lease }) => {
    if (!SENDABLE.test(namespace)) throw invalidArgument(`no call can be sent for namespace "${namespace}"`);
    return { client: client.in(prefix + namespace), on: lease === undefined ? {} : { lease } };
  };
  return {
    content: remoteContent(at),
    snapshots: remoteSnapshots(at, snapshotters),
    images: remoteImages(at),
    containers: remoteContainers(at),
    ...(hasSandboxes && { sandboxes: remoteSandboxes(at) }),
    leases: remoteLeases(at),
    // in a namespace, as clients always are: containerd 1.6 tells nobody of a new one without
    namespaces: remoteNamespaces(client.in(collections), prefix),
    collector: remoteCollector(client.in(collections)),
  };
}
