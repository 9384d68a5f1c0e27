/** What the checks of the metadata kit work with: the services, and short ways to fill them. */
import assert from 'node:assert/strict';
import type { Container, Containers, NewContainer } from '../../kernel/contracts/containers.js';
import type { Content, ContentInfo } from '../../kernel/contracts/content.js';
import type { Image, Images } from '../../kernel/contracts/images.js';
import type { GarbageCollector, Leases } from '../../kernel/contracts/leases.js';
import type { Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Sandboxes } from '../../kernel/contracts/sandboxes.js';
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import type { Snapshots } from '../../kernel/contracts/snapshots.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import type { Subject } from './runner.js';

export interface MetadataServices {
  readonly content: Content;
  readonly snapshots: Snapshots;
  readonly images: Images;
  readonly containers: Containers;
  /** Absent where none are kept. */
  readonly sandboxes?: Sandboxes;
  readonly namespaces: Namespaces;
  readonly leases: Leases;
  readonly collector: GarbageCollector;
}

export interface OpenMetadata {
  readonly services: MetadataServices;
  /** An event as `topic` of `namespace`, in order of publication. */
  readonly events: readonly { readonly namespace: string; readonly topic: string; readonly value: Uint8Array }[];
  /** Resolves once what was published has come, where that takes its time. */
  settled?(): Promise<void>;
  close(): Promise<void>;
}

export interface MetadataOptions {
  readonly sharing: 'shared' | 'isolated';
}

export interface MetadataSubject extends Subject {
  readonly can: {
    /** Ingests go back to any earlier offset; false: only to the beginning. */
    readonly truncateAnywhere: boolean;
    /** Collections tell what they removed. */
    readonly measureCollections: boolean;
    /** What is made after the call for a collection is not seen by it; false: only what is made after its end. */
    readonly collectAtOnce: boolean;
    /** Keeps records of sandboxes, which containerd does since 1.7; false: nothing is asked of them. */
    readonly keepSandboxes: boolean;
    /** Can be opened so that namespaces do not share content. */
    readonly isolate: boolean;
  };
  /**
   * The services on a directory, with a snapshotter whose wire id is `native`; called again on the
   * same directory they are the same ones, restarted. No collection starts by itself meanwhile.
   */
  open(root: string, options: MetadataOptions): Promise<OpenMetadata>;
}

export const rejects = (code: ErrorCode, work: Promise<unknown>, message = /./): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    assert.match(String(error), message);
    return true;
  });

export const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
};

/** Long enough for two times to differ. */
export const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 3));

export const SN = 'native';
export const A: Scope = { namespace: 'a' };
export const B: Scope = { namespace: 'b' };

const spec = { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') };

export const newContainer = (id: string, more: Partial<Container> = {}): NewContainer => ({
  id,
  labels: {},
  image: '',
  runtime: { name: 'io.containerd.runc.v2' },
  spec,
  snapshotter: '',
  snapshotKey: '',
  extensions: {},
  sandbox: '',
  ...more,
});

export class MetadataBench {
  readonly #subject: MetadataSubject;
  readonly #root: string;
  readonly #options: MetadataOptions;
  #open: OpenMetadata;

  private constructor(subject: MetadataSubject, root: string, options: MetadataOptions, open: OpenMetadata) {
    this.#subject = subject;
    this.#root = root;
    this.#options = options;
    this.#open = open;
  }

  static async open(subject: MetadataSubject, root: string, options: MetadataOptions): Promise<MetadataBench> {
    return new MetadataBench(subject, root, options, await subject.open(root, options));
  }

  get services(): MetadataServices {
    return this.#open.services;
  }

  get can(): MetadataSubject['can'] {
    return this.#subject.can;
  }

  async topics(): Promise<readonly string[]> {
    await this.#open.settled?.();
    return this.#open.events.map(({ namespace, topic }) => `${namespace} ${topic}`);
  }

  /** Every event so far says of what it tells. */
  eventsName(name: string): void {
    for (const { topic, value } of this.#open.events) assert.ok(Buffer.from(value).includes(name), `${topic}: ${name}`);
  }

  async restart(): Promise<void> {
    await this.#open.close();
    this.#open = await this.#subject.open(this.#root, this.#options);
  }

  close(): Promise<void> {
    return this.#open.close();
  }

  /** Commits that text; returns its digest. */
  async blob(scope: Scope, text: string, labels: Labels = {}): Promise<string> {
    const { digest } = await this.commit(scope, `ref ${text}`, text, labels);
    return digest;
  }

  async commit(scope: Scope, ref: string, text: string, labels: Labels = {}): Promise<ContentInfo> {
    const bytes = Buffer.from(text);
    const writer = await this.services.content.writer(scope, { ref });
    try {
      await writer.write(bytes);
      return await writer.commit({ size: bytes.byteLength, expected: digestOf(bytes), labels });
    } finally {
      await writer.close();
    }
  }

  image(scope: Scope, name: string, digest: string, labels: Labels = {}): Promise<Image> {
    const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 };
    return this.services.images.create(scope, { name, target, labels });
  }

  /** A committed snapshot on `parent`. */
  async layer(scope: Scope, name: string, parent = '', labels: Labels = {}): Promise<void> {
    await this.services.snapshots.prepare(scope, SN, `${name} in the making`, parent);
    await this.services.snapshots.commit(scope, SN, name, `${name} in the making`, { labels });
  }

  async digests(scope: Scope): Promise<string[]> {
    return (await all(this.services.content.walk(scope))).map(({ digest }) => digest);
  }

  async keys(scope: Scope): Promise<string[]> {
    return (await all(this.services.snapshots.walk(scope, SN))).map(({ name }) => name);
  }

  async collect(): Promise<void> {
    await this.services.collector.collect();
  }
}
