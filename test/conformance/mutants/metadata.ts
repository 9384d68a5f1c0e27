/** Services of records with one behaviour broken each: those of the tree, with some of their calls replaced. */
import type { Scope } from '../../../kernel/contracts/scope.js';
import { hasCode, internal } from '../../../kernel/errors.js';
import { openMetadataBench } from '../../harness/metadata-bench.js';
import type { MetadataOptions, MetadataServices, MetadataSubject, OpenMetadata } from '../metadata.js';
import { altered } from './altered.js';
import type { Mutant } from './mutant.js';
import { Opened } from './opened.js';

/** The calls that take the place of sound ones. */
type Calls = { readonly [K in keyof MetadataServices]?: Partial<NonNullable<MetadataServices[K]>> };

const replaced = (services: MetadataServices, calls: Calls): MetadataServices => ({
  content: altered(services.content, calls.content ?? {}),
  snapshots: altered(services.snapshots, calls.snapshots ?? {}),
  images: altered(services.images, calls.images ?? {}),
  containers: altered(services.containers, calls.containers ?? {}),
  ...(services.sandboxes && { sandboxes: altered(services.sandboxes, calls.sandboxes ?? {}) }),
  namespaces: altered(services.namespaces, calls.namespaces ?? {}),
  leases: altered(services.leases, calls.leases ?? {}),
  collector: altered(services.collector, calls.collector ?? {}),
});

async function openTidily(root: string, { sharing }: MetadataOptions): Promise<OpenMetadata> {
  const { services, events, close } = await openMetadataBench(root, { sharing });
  const { content } = services;
  const opened = new Opened();
  const writer: typeof content.writer = (scope, options) => opened.noted(content.writer(scope, options));
  return {
    services: replaced(services, { content: { writer } }),
    events,
    async close() {
      await opened.close();
      await close();
    },
  };
}

export const soundMetadata: MetadataSubject = {
  name: 'metadata',
  unavailable: async () => undefined,
  can: { truncateAnywhere: true, measureCollections: true, collectAtOnce: true, keepSandboxes: true, isolate: true },
  open: openTidily,
};

type Change = (services: MetadataServices) => Calls | Promise<Calls>;

const mutant = (title: string, caughtBy: RegExp, change: Change): Mutant<MetadataSubject> => ({
  title,
  caughtBy,
  subject: () => ({
    ...soundMetadata,
    async open(root, options) {
      const opened = await soundMetadata.open(root, options);
      return altered(opened, { services: replaced(opened.services, await change(opened.services)) });
    },
  }),
});

type Told = OpenMetadata['events'];

const ofEvents = (title: string, caughtBy: RegExp, change: (events: Told) => Told): Mutant<MetadataSubject> => ({
  title,
  caughtBy,
  subject: () => ({
    ...soundMetadata,
    async open(root, options) {
      const { services, events, close } = await soundMetadata.open(root, options);
      return {
        services,
        close,
        get events() {
          return change(events);
        },
      };
    },
  }),
});

function needed<T>(service: T | undefined): T {
  if (service === undefined) throw internal('the sound records have no such service');
  return service;
}

/** The kit's two namespaces. */
const NAMESPACES: readonly Scope[] = [{ namespace: 'a' }, { namespace: 'b' }];

const without = (labels: Readonly<Record<string, string>> = {}, key: string): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => name !== key));

/** Leases are made without that label. */
const unlabelled =
  (key: string): Change =>
  ({ leases }) => ({
    leases: { create: (scope, lease) => leases.create(scope, { ...lease, labels: without(lease.labels, key) }) },
  });

/** Removes what stands on a snapshot before it. */
const withChildren: Change = ({ snapshots }) => {
  const remove = async (scope: Scope, snapshotter: string, key: string): Promise<void> => {
    const children = await Array.fromAsync(snapshots.walk(scope, snapshotter, [`parent=="${key}"`]));
    for (const { name } of children) await remove(scope, snapshotter, name);
    await snapshots.remove(scope, snapshotter, key);
  };
  return { snapshots: { remove } };
};

export const metadataMutants: readonly Mutant<MetadataSubject>[] = [
  mutant('masks of images are ignored', /images: masks replace what they name/, ({ images }) => ({
    images: { update: (scope, image) => images.update(scope, image) },
  })),
  mutant('filters of images are ignored', /images: are filtered/, ({ images }) => ({
    images: { list: (scope) => images.list(scope) },
  })),
  mutant('an image that is made again replaces the first', /images: are created, found/, ({ images }) => ({
    images: {
      create: (scope, image) =>
        images.create(scope, image).catch((error: unknown) => {
          if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
          return images.update(scope, image);
        }),
    },
  })),
  mutant('an image goes, whatever target the deletion insists on', /deletion may insist on a target/, ({ images }) => ({
    images: { delete: (scope, name, { sync = false } = {}) => images.delete(scope, name, { sync }) },
  })),
  mutant('a deletion takes all images', /images: are created, found/, ({ images }) => ({
    images: {
      async delete(scope, name, options) {
        await images.delete(scope, name, options);
        for (const other of await images.list(scope)) await images.delete(scope, other.name);
      },
    },
  })),
  mutant('a deletion does not wait for the collection', /keeps images, what they target/, ({ images }) => ({
    images: { delete: (scope, name) => images.delete(scope, name) },
  })),
  mutant('an update makes an image anew', /images: an update without a mask/, ({ images }) => ({
    images: {
      async update(scope, image) {
        await images.delete(scope, image.name);
        return images.create(scope, image);
      },
    },
  })),
  mutant('an update leaves the time of the last change', /images: an update without a mask/, ({ images }) => ({
    images: {
      async update(scope, image, mask) {
        const { updatedAt } = await images.get(scope, image.name);
        return { ...(await images.update(scope, image, mask)), updatedAt };
      },
    },
  })),
  mutant('extensions of a container are lost', /come back as they were created/, ({ containers }) => ({
    containers: { create: (scope, container) => containers.create(scope, { ...container, extensions: {} }) },
  })),
  mutant('a restart loses containers', /come back as they were created/, async ({ containers }) => {
    const scope: Scope = { namespace: 'a' };
    for (const { id } of await containers.list(scope)) await containers.delete(scope, id);
    return {};
  }),
  mutant('masks of sandboxes are ignored', /sandboxes: an update replaces/, ({ sandboxes }) => ({
    sandboxes: { update: (scope, sandbox) => needed(sandboxes).update(scope, sandbox) },
  })),
  mutant('sandboxes of one namespace are seen in another', /sandboxes: are unique in their namespace/, (services) => ({
    sandboxes: {
      list: async () => (await Promise.all(NAMESPACES.map((a) => needed(services.sandboxes).list(a)))).flat(),
    },
  })),
  mutant('the options of a sandbox are lost', /sandboxes: come back as they were created/, ({ sandboxes }) => ({
    sandboxes: {
      create: (scope, sandbox) =>
        needed(sandboxes).create(scope, { ...sandbox, runtime: { name: sandbox.runtime.name } }),
    },
  })),
  mutant('containers are listed in no order', /are unique in their namespace, listed in order/, ({ containers }) => ({
    containers: { list: async (scope, filters) => (await containers.list(scope, filters)).toReversed() },
  })),
  mutant('content of one namespace is seen in another', /is seen where it was committed/, ({ content }) => ({
    content: {
      info: (scope, digest) =>
        content.info(scope, digest).catch((error: unknown) => {
          if (!hasCode(error, 'NOT_FOUND')) throw error;
          return content.info({ namespace: 'a' }, digest);
        }),
    },
  })),
  {
    title: 'isolated namespaces share',
    caughtBy: /isolated: the bytes must be shown/,
    subject: () => ({ ...soundMetadata, open: (root) => soundMetadata.open(root, { sharing: 'shared' }) }),
  },
  mutant('ingests of all namespaces are listed', /statuses are per namespace/, ({ content }) => ({
    content: {
      statuses: async (_scope, filters) =>
        (await Promise.all(NAMESPACES.map((scope) => content.statuses(scope, filters)))).flat(),
    },
  })),
  mutant('an abort leaves the ingest', /an aborted ingest is gone/, ({ content }) => ({
    content: {
      async abort(scope, ref) {
        await content.status(scope, ref);
      },
    },
  })),
  mutant('what a lease finds or makes it does not hold', /take what is made under them/, ({ content }) => ({
    content: { writer: ({ namespace }, options) => content.writer({ namespace }, options) },
  })),
  mutant('what a lease finds at the commit it does not hold', /pull\/2696/, ({ content, leases }) => ({
    content: {
      async writer(scope, options) {
        const writer = await content.writer(scope, options);
        return altered(writer, {
          commit: (expectation) =>
            writer.commit(expectation).catch(async (error: unknown) => {
              const resource = { type: 'content', id: expectation.expected ?? writer.digest() };
              if (scope.lease !== undefined) await leases.deleteResource(scope, scope.lease, resource);
              throw error;
            }),
        });
      },
    },
  })),
  // by order, not by time: a real collection may be over before the content is there again
  mutant('what is made after a collection began is taken by it', /issues\/2695/, ({ collector, content, images }) => {
    let begun = false;
    return {
      collector: {
        collect() {
          begun = true;
          return collector.collect();
        },
      },
      images: {
        async create(scope, image) {
          const created = await images.create(scope, image);
          if (begun) await content.delete(scope, image.target.digest);
          return created;
        },
      },
    };
  }),
  mutant('what is said to be here is not held', /pull\/10764/, ({ snapshots }) => ({
    snapshots: {
      prepare: ({ namespace }, ...asked) => snapshots.prepare({ namespace }, ...asked),
    },
  })),
  mutant('content that nobody promised is not recorded', /issues\/3394/, ({ content }) => ({
    content: {
      async writer(scope, options) {
        const writer = await content.writer(scope, options);
        return altered(writer, {
          async commit(expectation) {
            const info = await writer.commit(expectation);
            if (!expectation.expected) await content.delete(scope, info.digest);
            return info;
          },
        });
      },
    },
  })),
  mutant('filters do not know quotes', /issues\/2494/, ({ containers }) => ({
    containers: {
      list: (scope, filters = []) =>
        containers.list(
          scope,
          filters.map((filter) => filter.replaceAll('"', '')),
        ),
    },
  })),
  mutant('who waits for a lease waits for its own alone', /pull\/42020/, ({ leases }) => ({
    leases: { delete: (scope, id) => leases.delete(scope, id) },
  })),
  mutant('an update by mask answers with what it was given', /pull\/1366/, ({ containers }) => ({
    containers: {
      async update(scope, container, mask) {
        const updated = await containers.update(scope, container, mask);
        return { ...updated, image: container.image };
      },
    },
  })),
  mutant('a flat lease is like any other', /a flat one only itself/, unlabelled('containerd.io/gc.flat')),
  mutant(
    'a lease never expires',
    /what expires goes by itself|an expired lease/,
    unlabelled('containerd.io/gc.expire'),
  ),
  mutant('a snapshot goes with its children', /one with children stays/, withChildren),
  mutant('filters of snapshots are ignored', /snapshots: are filtered/, ({ snapshots }) => ({
    snapshots: { walk: (scope, snapshotter) => snapshots.walk(scope, snapshotter) },
  })),
  mutant(
    'a namespace that holds things is said to be gone',
    /cannot go while something is in it/,
    ({ namespaces }) => ({
      namespaces: {
        delete: (name) =>
          namespaces.delete(name).catch((error: unknown) => {
            if (!hasCode(error, 'FAILED_PRECONDITION')) throw error;
          }),
      },
    }),
  ),
  mutant('the collector takes nothing', /takes what nothing refers to/, () => ({
    collector: { collect: async () => ({ duration: 0, longestPause: 0, contentRemoved: 0, snapshotsRemoved: 0 }) },
  })),
  mutant('the collector minds no leases', /keeps what leases hold/, ({ collector, leases }) => ({
    collector: {
      async collect() {
        for (const scope of NAMESPACES) for (const { id } of await leases.list(scope)) await leases.delete(scope, id);
        return collector.collect();
      },
    },
  })),
  ofEvents('events are told twice', /images: tell what happens/, (events) => events.flatMap((event) => [event, event])),
  ofEvents('events are told in another order', /images: tell what happens/, (events) => events.toReversed()),
  ofEvents('events do not say of what', /images: tell what happens/, (events) =>
    events.map((event) => ({ ...event, value: new Uint8Array(0) })),
  ),
];
