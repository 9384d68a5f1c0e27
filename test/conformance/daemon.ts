/**
 * What clients may count on of a whole daemon, over its socket: the rules that
 * all services share, and that they work together.
 *
 *     daemonConformance({ describe, it }, subject)
 *
 * It leaves nothing behind, and touches only namespaces that it makes.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect, decodeEvent, type Envelope } from '../../client/index.js';
import { hasCode } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { remoteStore } from './content.remote.js';
import { issueChecks } from './daemon.issues.js';
import { type Check, type DaemonSubject, MANIFEST, rejects, spec } from './daemon.workbench.js';
import { checkOf, type Runner } from './runner.js';

export type { DaemonSubject } from './daemon.workbench.js';

const all = async <T>(stream: AsyncIterable<T>): Promise<T[]> => Array.fromAsync(stream);

const EMPTY = { encode: () => ({ finish: () => new Uint8Array(0) }), decode: (bytes: Uint8Array) => bytes };
const unknown = (fullName: string) =>
  ({
    fullName,
    methods: {
      call: { name: 'Nothing', requestType: EMPTY, requestStream: false, responseType: EMPTY, responseStream: false },
    },
  }) as const;

/** The image that an event is about. */
function imageOf({ event }: Envelope): unknown {
  const message = event && decodeEvent(event);
  return message !== undefined && 'name' in message ? message.name : undefined;
}

/** Milliseconds an event may take. */
const PATIENCE = 20_000;

const CHECKS: Readonly<Record<string, Check>> = {
  'tells its version, and that it serves': async ({ client }) => {
    const { version } = await client.version.version({});
    assert.match(version, /\d+\.\d+/);
    assert.equal((await client.health.check({})).status, 1);
  },

  'names itself by an id that stays, and its process': async ({ client }) => {
    const [first, second] = [await client.introspection.server({}), await client.introspection.server({})];
    assert.match(first.uuid, /^[0-9a-f-]{36}$/);
    assert.equal(second.uuid, first.uuid);
  },

  'lists its plugins, and filters them': async ({ client }, { can, snapshotter }) => {
    const { plugins } = await client.introspection.plugins({});
    const types = new Set(plugins.map(({ type }) => type));
    for (const type of ['io.containerd.snapshotter.v1', 'io.containerd.grpc.v1', 'io.containerd.content.v1'])
      assert.ok(types.has(type), type);
    if (can.tellRequirements) assert.ok(plugins.some(({ requires }) => requires.length > 0));
    const { plugins: some } = await client.introspection.plugins({ filters: ['type==io.containerd.snapshotter.v1'] });
    assert.ok(
      some.some(({ id, initErr }) => id === snapshotter && initErr === undefined),
      snapshotter,
    );
    assert.deepEqual([...new Set(some.map(({ type }) => type))], ['io.containerd.snapshotter.v1']);
  },

  'asks for a namespace, and for one that is an identifier': async ({ address }, { can }) => {
    using none = connect({ address });
    await rejects('FAILED_PRECONDITION', none.containers.list({}));
    await rejects('FAILED_PRECONDITION', none.images.list({}));
    using bad = connect({ address, namespace: '../up' });
    const create = bad.images.create({
      image: { name: 'x', target: { mediaType: MANIFEST, size: 1n, digest: digestOf(Buffer.from('x')) } },
    });
    await (can.explainNamespaces ? rejects('INVALID_ARGUMENT', create) : assert.rejects(create));
  },

  'does not know services and methods that are not there': async ({ client }) => {
    await rejects('UNIMPLEMENTED', client.service(unknown('example.v1.NotThere')).call(new Uint8Array(0)));
    await rejects(
      'UNIMPLEMENTED',
      client.service(unknown('containerd.services.version.v1.Version')).call(new Uint8Array(0)),
    );
  },

  'keeps to a deadline, and lets a caller go': async ({ client }, { can }) => {
    const stream = client.events.subscribe({ filters: ['topic=="/never"'] }, { timeout: 200 });
    await (can.explainDeadlines ? rejects('DEADLINE_EXCEEDED', all(stream)) : assert.rejects(all(stream)));
    const stop = new AbortController();
    const reading = all(client.events.subscribe({ filters: ['topic=="/never"'] }, { signal: stop.signal }));
    stop.abort();
    await assert.rejects(reading);
    assert.ok((await client.version.version({})).version);
  },

  'answers many calls at once': async ({ client }) => {
    const answers = await Promise.all(Array.from({ length: 200 }, () => client.namespaces.list({})));
    assert.equal(answers.length, 200);
  },

  'keeps images, in their namespace': async ({ client, address }) => {
    const target = { mediaType: MANIFEST, digest: digestOf(Buffer.from('m')), size: 1n };
    await client.images.create({ image: { name: 'kit/image', target, labels: { a: '1' } } });
    await rejects('ALREADY_EXISTS', client.images.create({ image: { name: 'kit/image', target } }));
    await rejects('INVALID_ARGUMENT', client.images.create({ image: { name: '', target } }));
    const { image } = await client.images.get({ name: 'kit/image' });
    assert.deepEqual([image?.target?.digest, image?.labels], [target.digest, { a: '1' }]);
    using other = connect({ address, namespace: `kit-${randomUUID()}` });
    await rejects('NOT_FOUND', other.images.get({ name: 'kit/image' }));
    const change = { image: { name: 'kit/image', target, labels: { b: '2' } }, updateMask: ['labels.b'] };
    assert.deepEqual((await client.images.update(change)).image?.labels, { a: '1', b: '2' });
    assert.equal((await client.images.list({ filters: ['name==kit/image'] })).images.length, 1);
    assert.equal((await client.images.list({ filters: ['labels.b==3'] })).images.length, 0);
    await client.images.delete({ name: 'kit/image' });
    await rejects('NOT_FOUND', client.images.delete({ name: 'kit/image' }));
  },

  'keeps containers, in their namespace': async ({ client, address }) => {
    const container = { id: 'kit', runtime: { name: 'io.containerd.runc.v2' }, spec };
    await client.containers.create({ container });
    await rejects('ALREADY_EXISTS', client.containers.create({ container }));
    await rejects('INVALID_ARGUMENT', client.containers.create({ container: { ...container, id: 'a b' } }));
    const update = { container: { ...container, labels: { x: 'y' } }, updateMask: ['labels'] };
    assert.deepEqual((await client.containers.update(update)).container?.labels, { x: 'y' });
    using other = connect({ address, namespace: `kit-${randomUUID()}` });
    await rejects('NOT_FOUND', other.containers.get({ id: 'kit' }));
    await rejects('NOT_FOUND', client.tasks.get({ containerId: 'kit' }));
    await client.containers.delete({ id: 'kit' });
    await rejects('NOT_FOUND', client.containers.get({ id: 'kit' }));
  },

  'holds with leases what nothing else refers to, and collects it when they go': async ({
    client,
    address,
    namespace,
  }) => {
    const { store, close } = await remoteStore({ address, namespace });
    try {
      const bytes = Buffer.from(`held ${randomUUID()}`);
      const writer = await store.writer({ ref: 'kit' });
      await writer.write(bytes);
      const { digest } = await writer.commit({});
      await client.leases.create({ id: 'another' });
      await client.leases.delete({ id: 'another', sync: true });
      assert.equal((await store.info(digest)).size, bytes.length);
      const { resources } = await client.leases.listResources({ id: 'kit' });
      assert.deepEqual(
        resources.map(({ type, id }) => [type, id]),
        [['content', digest]],
      );
      await client.leases.delete({ id: 'kit', sync: true });
      await rejects('NOT_FOUND', store.info(digest));
      await client.leases.create({ id: 'kit' });
    } finally {
      await close();
    }
  },

  'prepares, commits and removes snapshots, in their namespace': async ({ client, address }, { snapshotter }) => {
    const { snapshots } = client;
    const lease = 'kit-snapshots';
    await client.leases.create({ id: lease });
    const { mounts } = await snapshots.prepare({ snapshotter, key: 'active' }, { lease });
    assert.ok(mounts.length > 0);
    await rejects('ALREADY_EXISTS', snapshots.prepare({ snapshotter, key: 'active' }));
    await snapshots.commit({ snapshotter, name: 'layer', key: 'active' }, { lease });
    using other = connect({ address, namespace: `kit-${randomUUID()}` });
    await rejects('NOT_FOUND', other.snapshots.stat({ snapshotter, key: 'layer' }));
    await snapshots.view({ snapshotter, key: 'view', parent: 'layer' }, { lease });
    await rejects('FAILED_PRECONDITION', snapshots.remove({ snapshotter, key: 'layer' }));
    await snapshots.remove({ snapshotter, key: 'view' });
    await snapshots.remove({ snapshotter, key: 'layer' });
    await rejects('NOT_FOUND', snapshots.stat({ snapshotter, key: 'layer' }));
    await rejects('INVALID_ARGUMENT', snapshots.stat({ snapshotter: 'no-such-snapshotter', key: 'x' }));
    await client.leases.delete({ id: lease, sync: true });
  },

  'tells of changes by events, in their order': async ({ client, namespace }) => {
    const filters = [`namespace==${namespace},topic~=|^/images/|`];
    const stream = client.events.subscribe({ filters }, { timeout: PATIENCE });
    const seen = stream[Symbol.asyncIterator]();
    const target = { mediaType: MANIFEST, digest: digestOf(Buffer.from('e')), size: 1n };
    const told: string[] = [];
    const hear = async (): Promise<void> => {
      const { done, value } = await seen.next();
      assert.ok(!done, 'the subscription ended');
      told.push(`${value.topic} ${imageOf(value)}`);
    };
    // stock containerd does not say when the subscription stands: the first event that arrives does
    const first = hear();
    for (let tries = 0; told.length === 0 && tries < 200; tries += 1) {
      await client.images.create({ image: { name: 'early', target } });
      await client.images.delete({ name: 'early' });
    }
    await first;
    await client.images.create({ image: { name: 'last', target } });
    await client.images.delete({ name: 'last' });
    while (told.at(-1) !== '/images/delete last') await hear();
    await seen.return?.();
    // it may have begun to stand between a creation and the deletion
    const order = /^(\/images\/delete early )?(\/images\/create early \/images\/delete early )*/;
    assert.equal(told.join(' ').replace(order, ''), '/images/create last /images/delete last', told.join(' '));
  },

  'removes a namespace only when it is empty': async ({ client, namespace }) => {
    const target = { mediaType: MANIFEST, digest: digestOf(Buffer.from('n')), size: 1n };
    await client.namespaces.create({ namespace: { name: `${namespace}-own`, labels: { k: 'v' } } });
    await rejects('ALREADY_EXISTS', client.namespaces.create({ namespace: { name: `${namespace}-own` } }));
    const own = client.in(`${namespace}-own`);
    await own.images.create({ image: { name: 'kit/image', target } });
    await rejects('FAILED_PRECONDITION', client.namespaces.delete({ name: `${namespace}-own` }));
    await own.images.delete({ name: 'kit/image' });
    await client.namespaces.delete({ name: `${namespace}-own` });
    const { namespaces } = await client.namespaces.list({});
    assert.ok(!namespaces.some(({ name }) => name === `${namespace}-own`));
  },

  'refuses labels that are too long, and keeps long ones': async ({ client }) => {
    const target = { mediaType: MANIFEST, digest: digestOf(Buffer.from('l')), size: 1n };
    const image = (value: string) => ({ image: { name: 'kit/labels', target, labels: { key: value } } });
    await rejects('INVALID_ARGUMENT', client.images.create(image('x'.repeat(4096))));
    await client.images.create(image('x'.repeat(4093)));
    assert.equal((await client.images.get({ name: 'kit/labels' })).image?.labels.key?.length, 4093);
    await client.images.delete({ name: 'kit/labels' });
  },
};

export function daemonConformance(runner: Runner, subject: DaemonSubject): void {
  runner.describe(`daemon ${subject.name}`, () => {
    for (const [title, check] of Object.entries({ ...CHECKS, ...issueChecks })) {
      checkOf(runner, subject, title, async () => {
        const address = subject.address();
        const namespace = `kit-${randomUUID()}`;
        using client = connect({ address, namespace });
        await check({ client, address, namespace }, subject);
        await client.namespaces.delete({ name: namespace }).catch((error: unknown) => {
          if (!hasCode(error, 'NOT_FOUND')) throw error;
        });
      });
    }
  });
}
