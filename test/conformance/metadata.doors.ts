/** Further ways to namespaced records, on which their kit is run too: through a kernel, over gRPC, and of a daemon. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, connect } from '../../client/index.js';
import { Containers } from '../../kernel/contracts/containers.js';
import { Content } from '../../kernel/contracts/content.js';
import { Events } from '../../kernel/contracts/events.js';
import { Images } from '../../kernel/contracts/images.js';
import { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Sandboxes } from '../../kernel/contracts/sandboxes.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { internal } from '../../kernel/errors.js';
import type { Plugin } from '../../kernel/plugin.js';
import { providing, startTestKernel, type TestKernel } from '../harness/kernel.js';
import { recorder } from '../harness/metadata-bench.js';
import { remoteMetadata } from './metadata.remote.js';
import { type MetadataOptions, type MetadataServices, type OpenMetadata, SN } from './metadata.workbench.js';

/** Collections run when asked for, and when something expires. */
export const STILL = { startup_delay: '10h', schedule_delay: '0ms', mutation_threshold: 0, deletion_threshold: 0 };

/** What serves the records to clients. */
const SERVICES = ['content', 'snapshots', 'images', 'containers', 'sandboxes', 'namespaces', 'leases'].map(
  (name) => `${name}-service`,
);

type Told = { readonly namespace: string; readonly topic: string; readonly value: Uint8Array }[];

const servicesOf = (kernel: TestKernel, hasSandboxes: boolean): MetadataServices => ({
  content: kernel.get(Content),
  snapshots: kernel.get(Snapshots),
  images: kernel.get(Images),
  containers: kernel.get(Containers),
  ...(hasSandboxes && { sandboxes: kernel.get(Sandboxes) }),
  namespaces: kernel.get(Namespaces),
  leases: kernel.get(Leases),
  collector: kernel.get(GarbageCollector),
});

const start = (
  directory: string,
  { sharing }: MetadataOptions,
  events: Events,
  beside: readonly (string | Plugin)[],
  config: Readonly<Record<string, unknown>> = {},
): Promise<TestKernel> =>
  startTestKernel({
    plugins: [providing(Events, events), 'content', 'snapshot-vfs', 'metadata', ...beside],
    config: { metadata: { content_sharing_policy: sharing, gc: STILL }, ...config },
    directory,
  });

/** Opens the records of the kernel that is started with those events. */
export async function recordsThrough(
  begin: (events: Events) => Promise<TestKernel>,
  { hasSandboxes = true }: { readonly hasSandboxes?: boolean } = {},
): Promise<OpenMetadata> {
  const events: Told = [];
  const kernel = await begin(recorder(events));
  return { services: servicesOf(kernel, hasSandboxes), events, close: () => kernel.stop() };
}

/** Opens the records of a kernel. */
export const throughKernel = (directory: string, options: MetadataOptions): Promise<OpenMetadata> =>
  recordsThrough((events) => start(directory, options, events, []));

/** Opens the records of a kernel as its clients have them. */
export async function throughGrpc(directory: string, options: MetadataOptions): Promise<OpenMetadata> {
  const events: Told = [];
  const address = join(directory, 's');
  const kernel = await start(directory, options, recorder(events), [...SERVICES, 'server-grpc'], {
    'server-grpc': { address },
  });
  const client = connect({ address });
  return {
    services: remoteMetadata({
      client,
      prefix: '',
      snapshotters: ['native'],
      hasSandboxes: true,
      collections: 'kit-collections',
    }),
    events,
    async close() {
      client[Symbol.dispose]();
      await kernel.stop();
    },
  };
}

/** Milliseconds an event may take. */
const PATIENCE = 20_000;
const MARK = { typeUrl: 'kit.Mark', value: new Uint8Array(0) };

/** How the kit opens a daemon that it must not restart: each directory stands for a prefix of namespaces. */
export class RemoteRecords implements AsyncDisposable {
  readonly #address: string;
  readonly #hasSandboxes: boolean;
  #current:
    | { readonly directory: string; readonly client: Client; readonly prefix: string; readonly collections: string }
    | undefined;

  constructor(address: string, { hasSandboxes }: { readonly hasSandboxes: boolean }) {
    this.#address = address;
    this.#hasSandboxes = hasSandboxes;
  }

  async open(directory: string): Promise<OpenMetadata> {
    if (this.#current?.directory !== directory) {
      await this[Symbol.asyncDispose]();
      const collections = `kit-${randomUUID()}`;
      this.#current = {
        directory,
        client: connect({ address: this.#address }),
        prefix: `${collections}-`,
        collections,
      };
    }
    const { client, prefix, collections } = this.#current;
    const filter = { filters: ['type==io.containerd.snapshotter.v1'] };
    const { plugins } = await client.introspection.plugins(filter);
    const snapshotters = plugins.map(({ id }) => id);
    const events = await RemoteTold.open(client, prefix);
    return {
      services: remoteMetadata({ client, prefix, snapshotters, hasSandboxes: this.#hasSandboxes, collections }),
      events: events.seen,
      settled: () => events.settled(),
      close: () => events.close(),
    };
  }

  /** Empties the namespaces and removes them. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#current === undefined) return;
    const { client, prefix, collections } = this.#current;
    this.#current = undefined;
    const hasSandboxes = this.#hasSandboxes;
    const services = remoteMetadata({ client, prefix, snapshotters: [], hasSandboxes, collections });
    for (const { name } of await services.namespaces.list()) await emptied(services, { namespace: name });
    await services.collector.collect();
    for (const { name } of await services.namespaces.list()) await services.namespaces.delete(name);
    await client.namespaces.delete({ name: collections });
    client[Symbol.dispose]();
  }
}

/** Takes away what holds anything; the rest is for the collector. */
async function emptied(
  { containers, sandboxes, images, leases, content, snapshots }: MetadataServices,
  scope: Scope,
): Promise<void> {
  for (const { id } of await containers.list(scope)) await containers.delete(scope, id);
  for (const { id } of (await sandboxes?.list(scope)) ?? []) await sandboxes?.delete(scope, id);
  for (const { name } of await images.list(scope)) await images.delete(scope, name);
  for (const { id } of await leases.list(scope)) await leases.delete(scope, id);
  for await (const { digest } of content.walk(scope)) await content.update(scope, digest, {});
  for await (const { name } of snapshots.walk(scope, SN)) await snapshots.update(scope, SN, name, {});
}

/** The events of namespaces with that prefix. */
class RemoteTold {
  readonly seen: Told = [];
  readonly #client: Client;
  readonly #prefix: string;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  readonly #marks = new Set<string>();
  #made = 0;

  private constructor(client: Client, prefix: string) {
    this.#client = client.in(`${prefix}marks`);
    this.#prefix = prefix;
    this.#ended = this.#listen();
  }

  static async open(client: Client, prefix: string): Promise<RemoteTold> {
    const told = new RemoteTold(client, prefix);
    await told.settled();
    return told;
  }

  /** What was published before this call has come once a mark has that is published now. */
  async settled(): Promise<void> {
    const topic = `/kit/mark-${this.#made++}`;
    const deadline = performance.now() + PATIENCE;
    while (!this.#marks.has(topic)) {
      if (performance.now() > deadline) throw internal(`no event came within ${PATIENCE / 1000} s`);
      await this.#client.events.publish({ topic, event: MARK });
      await delay(5);
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #listen(): Promise<void> {
    try {
      for await (const { namespace, topic, event } of this.#client.events.subscribe(
        {},
        { signal: this.#stop.signal },
      )) {
        if (!namespace.startsWith(this.#prefix)) continue;
        if (topic.startsWith('/kit/mark-')) this.#marks.add(topic);
        else this.seen.push({ namespace: namespace.slice(this.#prefix.length), topic, value: event?.value ?? EMPTY });
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }
}

const EMPTY = new Uint8Array(0);
