/**
 * Daemons with one behaviour broken each, for the kit to catch: a server that
 * hands every call on to a real daemon, but for those of one service.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { ContentDefinition } from '../../../api/content.js';
import { HealthCheckResponse_ServingStatus, HealthDefinition } from '../../../api/gen/grpc/health.js';
import { ContainersDefinition } from '../../../api/gen/services/containers.js';
import { EventsDefinition } from '../../../api/gen/services/events.js';
import { ImagesDefinition } from '../../../api/gen/services/images.js';
import { IntrospectionDefinition } from '../../../api/gen/services/introspection.js';
import { LeasesDefinition } from '../../../api/gen/services/leases.js';
import { NamespacesDefinition } from '../../../api/gen/services/namespaces.js';
import { SnapshotsDefinition } from '../../../api/gen/services/snapshots.js';
import type { Envelope } from '../../../api/gen/types/event.js';
import { type CallOptions, type Client, connect, SERVICES } from '../../../client/index.js';
import { type GrpcService, GrpcServices } from '../../../kernel/contracts/grpc.js';
import { aborted, type ErrorCode, hasCode, resourceExhausted } from '../../../kernel/errors.js';
import { type Call, type Handlers, implement, type ServiceDefinition } from '../../../lib/rpc/definition.js';
import { providing, startTestKernel } from '../../harness/kernel.js';
import { scratch } from '../../harness/scratch.js';
import type { DaemonSubject } from '../daemon.js';
import type { Mutant } from './mutant.js';

const NAMESPACE = 'containerd-namespace';
const LEASE = 'containerd-lease';

/** What answers the calls that are not broken: the handlers of a service that hand them on. */
type Real = <D extends ServiceDefinition>(definition: D) => Handlers<D>;

/** The services that take the place of those of the real daemon. */
type Change = (real: Real) => readonly GrpcService[];

const PLUGINS = [
  'content',
  'events',
  'metadata',
  'snapshot-vfs',
  'tasks',
  'introspection',
  'version',
  'health',
  'containers-service',
  'content-service',
  'events-service',
  'images-service',
  'leases-service',
  'namespaces-service',
  'snapshots-service',
  'tasks-service',
  'server-grpc',
];

function optionsOf(call: Call): CallOptions {
  const [namespace, lease] = [call.metadata(NAMESPACE), call.metadata(LEASE)];
  return { signal: call.signal, ...(namespace !== undefined && { namespace }), ...(lease !== undefined && { lease }) };
}

/** The call with another value of one piece of metadata. */
const withMetadata = (call: Call, name: string, value: string | undefined): Call => ({
  signal: call.signal,
  metadata: (key) => (key === name ? value : call.metadata(key)),
  scope: () => call.scope(),
});

const handingOnTo =
  (client: Client): Real =>
  (definition) => {
    const stub = Object.entries(client.service<ServiceDefinition>(definition));
    const handlers = stub.map(([key, method]) => [
      key,
      (request: unknown, call: Call) => method(request, optionsOf(call)),
    ]);
    return Object.fromEntries(handlers);
  };

const subjectAt = (address: string): DaemonSubject => ({
  name: 'in this process',
  unavailable: async () => undefined,
  address: () => address,
  snapshotter: 'native',
  can: { explainNamespaces: true, explainDeadlines: true, tellRequirements: true },
});

/** A daemon in this process, and the broken ones in front of it; all end together. */
export class RealDaemon implements AsyncDisposable {
  readonly #directory: string;
  readonly #client: Client;
  readonly #resources: AsyncDisposableStack;
  #broken = 0;

  private constructor(directory: string, client: Client, resources: AsyncDisposableStack) {
    this.#directory = directory;
    this.#client = client;
    this.#resources = resources;
  }

  static async start(): Promise<RealDaemon> {
    await using resources = new AsyncDisposableStack();
    const { path } = resources.use(await scratch('dm'));
    const address = join(path, 'real');
    const config = { 'server-grpc': { address }, metadata: { default_snapshotter: 'native' } };
    resources.use(await startTestKernel({ plugins: PLUGINS, config, directory: path }));
    const client = resources.use(connect({ address }));
    return new RealDaemon(path, client, resources.move());
  }

  /** A server like the broken ones that breaks nothing. */
  sound(): Promise<DaemonSubject> {
    return this.broken(() => []);
  }

  async broken(change: Change): Promise<DaemonSubject> {
    const real = handingOnTo(this.#client);
    const broken = change(real);
    const changed = new Set(broken.map(({ definition }) => definition.fullName));
    const others = Object.values<ServiceDefinition>(SERVICES).filter(({ fullName }) => !changed.has(fullName));
    const services = [...broken, ...others.map((definition) => implement(definition, real(definition)))];
    const directory = join(this.#directory, `broken-${this.#broken++}`);
    const address = `${directory}.sock`;
    const plugins = ['server-grpc', providing(GrpcServices, services)];
    this.#resources.use(await startTestKernel({ plugins, config: { 'server-grpc': { address } }, directory }));
    return subjectAt(address);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }
}

/** What to do instead of failing with that code. */
const instead =
  <T>(code: ErrorCode, work: () => Promise<T> | T) =>
  (error: unknown): Promise<T> | T => {
    if (hasCode(error, code)) return work();
    throw error;
  };

/** Every call of those services in the namespace that is chosen for it. */
const inNamespace =
  (definitions: readonly ServiceDefinition[], choose: (own: string | undefined) => string): Change =>
  (real) =>
    definitions.map((definition) => {
      const handlers = Object.entries(real(definition)).map(([key, handler]) => [
        key,
        (request: unknown, call: Call) =>
          handler(request, withMetadata(call, NAMESPACE, choose(call.metadata(NAMESPACE)))),
      ]);
      return implement(definition, Object.fromEntries(handlers));
    });

const notServing: Change = (real) => [
  implement(HealthDefinition, {
    ...real(HealthDefinition),
    check: async () => ({ status: HealthCheckResponse_ServingStatus.NOT_SERVING }),
  }),
];

const manyNames: Change = (real) => {
  const introspection = real(IntrospectionDefinition);
  const server: typeof introspection.server = async (...asked) => ({
    ...(await introspection.server(...asked)),
    uuid: randomUUID(),
  });
  return [implement(IntrospectionDefinition, { ...introspection, server })];
};

const pluginsUnfiltered: Change = (real) => {
  const introspection = real(IntrospectionDefinition);
  const plugins: typeof introspection.plugins = (_, call) => introspection.plugins({ filters: [] }, call);
  return [implement(IntrospectionDefinition, { ...introspection, plugins })];
};

const BYTES = {
  encode: (bytes: Uint8Array) => ({ finish: () => bytes }),
  decode: (bytes: Uint8Array) => bytes,
};

const NOT_THERE = {
  fullName: 'example.v1.NotThere',
  methods: {
    call: { name: 'Nothing', requestType: BYTES, requestStream: false, responseType: BYTES, responseStream: false },
  },
} as const;

const unknownAnswered: Change = () => [implement(NOT_THERE, { call: async (bytes) => bytes })];

const subscriptionsEnd: Change = (real) => [
  implement(EventsDefinition, { ...real(EventsDefinition), async *subscribe() {} }),
];

/** Callers at once that are still served. */
const FEW = 20;

const fewAtOnce: Change = (real) => {
  const namespaces = real(NamespacesDefinition);
  let callers = 0;
  const list: typeof namespaces.list = async (...asked) => {
    callers += 1;
    try {
      if (callers > FEW) throw resourceExhausted('list namespaces: too many callers');
      return await namespaces.list(...asked);
    } finally {
      callers -= 1;
    }
  };
  return [implement(NamespacesDefinition, { ...namespaces, list })];
};

const imageMasksIgnored: Change = (real) => {
  const images = real(ImagesDefinition);
  const update: typeof images.update = (request, call) => images.update({ ...request, updateMask: undefined }, call);
  return [implement(ImagesDefinition, { ...images, update })];
};

const imagesOverwritten: Change = (real) => {
  const images = real(ImagesDefinition);
  const create: typeof images.create = (request, call) =>
    images
      .create(request, call)
      .catch(instead('ALREADY_EXISTS', () => images.update({ ...request, updateMask: undefined }, call)));
  return [implement(ImagesDefinition, { ...images, create })];
};

const longLabelsCut: Change = (real) => {
  const images = real(ImagesDefinition);
  const cut = (labels: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, value.slice(0, 4096 - key.length)]));
  const create: typeof images.create = ({ image, sourceDateEpoch }, call) =>
    images.create({ image: image && { ...image, labels: cut(image.labels) }, sourceDateEpoch }, call);
  return [implement(ImagesDefinition, { ...images, create })];
};

const idsMended: Change = (real) => {
  const containers = real(ContainersDefinition);
  const create: typeof containers.create = ({ container }, call) =>
    containers.create({ container: container && { ...container, id: container.id.replaceAll(/[^\w.-]/g, '-') } }, call);
  return [implement(ContainersDefinition, { ...containers, create })];
};

const contentNotHeld: Change = (real) => {
  const content = real(ContentDefinition);
  const write: typeof content.write = (requests, call) => content.write(requests, withMetadata(call, LEASE, undefined));
  return [implement(ContentDefinition, { ...content, write })];
};

const parentsRemoved: Change = (real) => {
  const snapshots = real(SnapshotsDefinition);
  const remove: typeof snapshots.remove = (...asked) =>
    snapshots.remove(...asked).catch(instead('FAILED_PRECONDITION', () => ({})));
  return [implement(SnapshotsDefinition, { ...snapshots, remove })];
};

const oneSnapshotter: Change = (real) => {
  const snapshots = real(SnapshotsDefinition);
  const stat: typeof snapshots.stat = ({ key }, call) => snapshots.stat({ snapshotter: 'native', key }, call);
  return [implement(SnapshotsDefinition, { ...snapshots, stat })];
};

async function* creationsLate(envelopes: AsyncIterable<Envelope>): AsyncIterable<Envelope> {
  const held: Envelope[] = [];
  for await (const envelope of envelopes) {
    if (envelope.topic === '/images/create') held.push(envelope);
    else yield* [envelope, ...held.splice(0)];
  }
}

const eventsOutOfOrder: Change = (real) => {
  const events = real(EventsDefinition);
  const subscribe: typeof events.subscribe = (...asked) => creationsLate(events.subscribe(...asked));
  return [implement(EventsDefinition, { ...events, subscribe })];
};

const namespacesEmptied: Change = (real) => {
  const namespaces = real(NamespacesDefinition);
  const images = real(ImagesDefinition);
  const remove: typeof namespaces.delete = async (request, call) => {
    const within = withMetadata(call, NAMESPACE, request.name);
    for (const { name } of (await images.list({ filters: [] }, within)).images)
      await images.delete({ name, sync: true, target: undefined }, within);
    return namespaces.delete(request, call);
  };
  return [implement(NamespacesDefinition, { ...namespaces, delete: remove })];
};

/** Bytes of a message that gRPC takes when nobody has said more. */
const USUAL_MESSAGE = 4 << 20;

const listsLimited: Change = (real) => {
  const containers = real(ContainersDefinition);
  const list: typeof containers.list = async (...asked) => {
    const answer = await containers.list(...asked);
    const size = answer.containers.reduce((sum, { spec }) => sum + (spec?.value.length ?? 0), 0);
    if (size > USUAL_MESSAGE) throw resourceExhausted(`the list has ${size} bytes`);
    return answer;
  };
  return [implement(ContainersDefinition, { ...containers, list })];
};

const specsMadeUp: Change = (real) => {
  const containers = real(ContainersDefinition);
  const spec = { typeUrl: 'example.Spec', value: new Uint8Array(0) };
  const create: typeof containers.create = ({ container }, call) =>
    containers.create({ container: container && { ...container, spec: container.spec ?? spec } }, call);
  return [implement(ContainersDefinition, { ...containers, create })];
};

const deletedFromWithin: Change = (real) => {
  const namespaces = real(NamespacesDefinition);
  const remove: typeof namespaces.delete = async (request, call) => {
    call.scope();
    return namespaces.delete(request, call);
  };
  return [implement(NamespacesDefinition, { ...namespaces, delete: remove })];
};

const writesFailAtTheEnd: Change = (real) => {
  const content = real(ContentDefinition);
  const write: typeof content.write = async function* (requests, call) {
    yield* content.write(requests, call);
    throw aborted('the stream ended');
  };
  return [implement(ContentDefinition, { ...content, write })];
};

const everywhere = (): string => 'everywhere';

const BROKEN: readonly (readonly [title: string, caughtBy: RegExp, change: Change])[] = [
  ['it says that it does not serve', /tells its version, and that it serves/, notServing],
  ['it has a new id with every answer', /names itself by an id that stays/, manyNames],
  ['filters of plugins filter nothing', /lists its plugins, and filters them/, pluginsUnfiltered],
  [
    'no namespace is the default one',
    /asks for a namespace/,
    inNamespace([ImagesDefinition], (own = 'default') => own),
  ],
  ['services that are not there answer', /does not know services and methods that are not there/, unknownAnswered],
  ['a subscription ends by itself', /keeps to a deadline/, subscriptionsEnd],
  ['many calls at once are refused', /answers many calls at once/, fewAtOnce],
  [
    'all namespaces share their images',
    /keeps images, in their namespace/,
    inNamespace([ImagesDefinition], everywhere),
  ],
  ['an update of one label replaces all', /keeps images, in their namespace/, imageMasksIgnored],
  ['an image takes the place of one that exists', /keeps images, in their namespace/, imagesOverwritten],
  ['ids that are none are mended', /keeps containers, in their namespace/, idsMended],
  [
    'all namespaces share their containers',
    /keeps containers, in their namespace/,
    inNamespace([ContainersDefinition], everywhere),
  ],
  ['a lease does not hold content', /holds with leases what nothing else refers to/, contentNotHeld],
  ['a removal of a parent does nothing and says so to nobody', /prepares, commits and removes/, parentsRemoved],
  ['any name is that of the one snapshotter', /prepares, commits and removes/, oneSnapshotter],
  [
    'all namespaces share their snapshots',
    /prepares, commits and removes/,
    inNamespace([SnapshotsDefinition, LeasesDefinition], everywhere),
  ],
  ['events come out of their order', /tells of changes by events, in their order/, eventsOutOfOrder],
  ['a namespace goes with what is in it', /removes a namespace only when it is empty/, namespacesEmptied],
  ['a list has a limit', /issues\/2226/, listsLimited],
  ['a container without a spec is given one', /issues\/9594/, specsMadeUp],
  ['a namespace is deleted only by who is in one', /issues\/1497/, deletedFromWithin],
  ['a write fails once it has succeeded', /pull\/585/, writesFailAtTheEnd],
  ['labels that are too long are cut', /refuses labels that are too long/, longLabelsCut],
];

/** `real`: asked for when a mutant is made. */
export const daemonMutants = (real: () => RealDaemon): Mutant<DaemonSubject>[] =>
  BROKEN.map(([title, caughtBy, change]) => ({ title, caughtBy, subject: () => real().broken(change) }));
