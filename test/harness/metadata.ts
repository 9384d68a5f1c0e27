/** Everything recorded, on real stores: the metadata plugin with what it stands on, and the things tests put in. */
import { Containers, type NewContainer } from '../../kernel/contracts/containers.js';
import { Content, ContentStore } from '../../kernel/contracts/content.js';
import { type Envelope, Events } from '../../kernel/contracts/events.js';
import { type Image, Images } from '../../kernel/contracts/images.js';
import { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import { Namespaces } from '../../kernel/contracts/namespaces.js';
import { Sandboxes } from '../../kernel/contracts/sandboxes.js';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import { Snapshots, Snapshotters } from '../../kernel/contracts/snapshots.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { startTestKernel, type TestKernel } from './kernel.js';

export interface TestMetadataOptions {
  /** See {@link startTestKernel}. */
  readonly directory?: string;
  /** Configuration of the plugin `metadata`. Default: collections run only when asked for. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** No collection but those asked for. */
const QUIET = { gc: { startup_delay: '10h', schedule_delay: '0ms', mutation_threshold: 0 } };

export const JSON_TYPE = 'application/vnd.oci.image.manifest.v1+json';

export const bytesOf = (text: string): Buffer => Buffer.from(text);

export const container = (id: string, rest: Partial<NewContainer> = {}): NewContainer => ({
  id,
  labels: {},
  image: '',
  runtime: { name: 'io.containerd.runc.v2' },
  spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') },
  snapshotter: '',
  snapshotKey: '',
  extensions: {},
  sandbox: '',
  ...rest,
});

export class TestMetadata implements AsyncDisposable {
  readonly kernel: TestKernel;
  readonly content: Content;
  readonly snapshots: Snapshots;
  readonly images: Images;
  readonly containers: Containers;
  readonly sandboxes: Sandboxes;
  readonly namespaces: Namespaces;
  readonly leases: Leases;
  readonly collector: GarbageCollector;
  readonly store: ContentStore;
  readonly events: Events;

  private constructor(kernel: TestKernel) {
    this.kernel = kernel;
    this.content = kernel.get(Content);
    this.snapshots = kernel.get(Snapshots);
    this.images = kernel.get(Images);
    this.containers = kernel.get(Containers);
    this.sandboxes = kernel.get(Sandboxes);
    this.namespaces = kernel.get(Namespaces);
    this.leases = kernel.get(Leases);
    this.collector = kernel.get(GarbageCollector);
    this.store = kernel.get(ContentStore);
    this.events = kernel.get(Events);
  }

  static async start({ directory, config = QUIET }: TestMetadataOptions = {}): Promise<TestMetadata> {
    const plugins = ['events', 'content', 'snapshot-overlay', 'snapshot-vfs', 'metadata'];
    const place = directory === undefined ? {} : { directory };
    return new TestMetadata(await startTestKernel({ plugins, config: { metadata: config }, ...place }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kernel[Symbol.asyncDispose]();
  }

  /** Writes a blob of that text; resolves to its digest. */
  async put(scope: Scope, text: string, labels: Labels = {}): Promise<string> {
    const bytes = bytesOf(text);
    const digest = digestOf(bytes);
    const writer = await this.content.writer(scope, { ref: `put-${digest}` });
    try {
      if (writer.status().offset === 0) await writer.write(bytes);
      await writer.commit({ size: bytes.byteLength, expected: digest, labels });
    } finally {
      await writer.close();
    }
    return digest;
  }

  /** As {@link put}, where it may be there already. */
  async putAgain(scope: Scope, text: string): Promise<string> {
    try {
      return await this.put(scope, text);
    } catch (error) {
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
      return digestOf(bytesOf(text));
    }
  }

  image(scope: Scope, name: string, digest: string, labels: Labels = {}): Promise<Image> {
    return this.images.create(scope, { name, labels, target: { mediaType: JSON_TYPE, digest, size: 1 } });
  }

  /** Prepares and commits a snapshot. */
  async layer(scope: Scope, snapshotter: string, name: string, parent = '', labels: Labels = {}): Promise<void> {
    const key = `making-${name}`;
    await this.snapshots.prepare(scope, snapshotter, key, parent);
    await this.snapshots.commit(scope, snapshotter, name, key, { labels });
  }

  async digests(scope: Scope): Promise<string[]> {
    return (await Array.fromAsync(this.content.walk(scope))).map(({ digest }) => digest);
  }

  async snapshotNames(scope: Scope, snapshotter: string): Promise<string[]> {
    return (await Array.fromAsync(this.snapshots.walk(scope, snapshotter))).map(({ name }) => name);
  }

  /** What is really on disk: blobs, and names of the backend's snapshots without namespace and number. */
  async onDisk(): Promise<{ readonly blobs: string[]; readonly snapshots: string[] }> {
    const blobs = (await Array.fromAsync(this.store.walk())).map(({ digest }) => digest);
    const snapshots: string[] = [];
    for (const [snapshotter, backend] of this.kernel.get(Snapshotters)) {
      for await (const { name } of backend.walk()) {
        snapshots.push(`${snapshotter}:${name.split('/').slice(2).join('/')}`);
      }
    }
    return { blobs: blobs.sort(), snapshots: snapshots.sort() };
  }

  /** All events from now on; they end with the returned thing. */
  record(): { readonly seen: Envelope[] } & AsyncDisposable {
    const stop = new AbortController();
    const seen: Envelope[] = [];
    const subscription = this.events.subscribe([], stop.signal);
    const reading = (async () => {
      for await (const envelope of subscription) seen.push(envelope);
    })();
    return {
      seen,
      async [Symbol.asyncDispose]() {
        stop.abort();
        await reading;
      },
    };
  }
}

/** An error check for `assert.rejects`. */
export const coded =
  (code: ErrorCode, message = /(?:)/) =>
  (error: unknown): boolean => {
    if (hasCode(error, code) && error instanceof Error && message.test(error.message)) return true;
    throw new Error(`expected ${code} ${message}, got ${error}`, { cause: error });
  };
