/** Processes behind a proxy that come late, die, hang or lie (attack corpus 70). */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { ContentDefinition } from '../../api/content.js';
import type { WriteAction } from '../../api/gen/services/content.js';
import { ControllerDefinition } from '../../api/gen/services/sandbox.js';
import { Kind, SnapshotsDefinition } from '../../api/gen/services/snapshots.js';
import { type GrpcService, GrpcServices } from '../../kernel/contracts/grpc.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { Registry } from '../../kernel/registry.js';
import { proxySettings } from '../../lib/proxy-settings.js';
import { type Handlers, implement } from '../../lib/rpc/definition.js';
import { scratch } from '../../test/harness/scratch.js';
import { GrpcServer } from '../server-grpc/server.js';
import { ProxyContentStore } from './content.js';
import { Remote } from './remote.js';
import { ProxySandboxController } from './sandbox-controller.js';
import { ProxySnapshotter } from './snapshotter.js';

const never = (): Promise<never> => new Promise(() => {});
const unused = async (): Promise<never> => {
  throw new Error('not part of this test');
};
async function* unusedStream(): AsyncIterable<never> {
  yield* [];
  throw new Error('not part of this test');
}

const snapshots = (given: Partial<Handlers<typeof SnapshotsDefinition>>): GrpcService =>
  implement(SnapshotsDefinition, {
    prepare: unused,
    view: unused,
    mounts: unused,
    commit: unused,
    remove: unused,
    stat: unused,
    update: unused,
    list: unusedStream,
    usage: unused,
    cleanup: unused,
    ...given,
  });

const content = (given: Partial<Handlers<typeof ContentDefinition>>): GrpcService =>
  implement(ContentDefinition, {
    info: unused,
    update: unused,
    list: unusedStream,
    delete: unused,
    read: unusedStream,
    status: unused,
    listStatuses: unused,
    write: unusedStream,
    abort: unused,
    ...given,
  });

const sandboxes = (given: Partial<Handlers<typeof ControllerDefinition>>): GrpcService =>
  implement(ControllerDefinition, {
    create: unused,
    start: unused,
    platform: unused,
    stop: unused,
    wait: unused,
    status: unused,
    shutdown: unused,
    metrics: unused,
    update: unused,
    ...given,
  });

async function serve(address: string, service: GrpcService): Promise<GrpcServer> {
  const registry = new Registry();
  registry.offer(GrpcServices, 'liar', service);
  const server = new GrpcServer({
    services: registry.many(GrpcServices),
    isExpected: () => false,
    limits: { maxReceive: 1 << 24, maxSend: 1 << 24, drain: 0 },
    log: pino({ level: 'silent' }),
  });
  await server.start({ path: address, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });
  return server;
}

interface Scene {
  readonly remote: Remote;
  serve(service: GrpcService): Promise<GrpcServer>;
}

async function scene(body: (scene: Scene) => Promise<void>, timeout = 0.4): Promise<void> {
  await using directory = await scratch('proxy');
  const address = join(directory.path, 's');
  const settings = proxySettings.parse({ type: 'snapshot', address, timeout, connect_timeout: 1.5 });
  const remote = new Remote('other', settings);
  const servers: GrpcServer[] = [];
  try {
    await body({
      remote,
      async serve(service) {
        const server = await serve(address, service);
        servers.push(server);
        return server;
      },
    });
  } finally {
    remote.close();
    for (const server of servers) await server.stop();
  }
}

const fails = (work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
  assert.rejects(work, (error) => {
    assert.ok(hasCode(error, code), `expected ${code}, got ${error}`);
    assert.match(String(error), message);
    return true;
  });

const info = (name: string) => ({
  name,
  parent: '',
  kind: Kind.ACTIVE,
  createdAt: undefined,
  updatedAt: undefined,
  labels: {},
});

const honest = snapshots({ stat: async ({ key }) => ({ info: info(key) }) });

const DIGEST = `sha256:${'0'.repeat(64)}`;
const blob = (digest: string, size: bigint) => ({
  info: { digest, size, createdAt: undefined, updatedAt: undefined, labels: {} },
});

const POD = { namespace: 'pods' };
const exit = { exitStatus: 3, exitedAt: { seconds: 5n, nanos: 6 } };
const exited = { exitStatus: 3, exitedAt: 5_000_000_006n };

/** Whoever waits at it is let go by its end, without a word. */
function waitedAt(): { readonly service: GrpcService; readonly entered: Promise<void> } {
  const entered = Promise.withResolvers<void>();
  const service = sandboxes({
    wait() {
      entered.resolve();
      return never();
    },
  });
  return { service, entered: entered.promise };
}

describe('a sandbox controller behind a proxy', () => {
  it('that is not there: UNAVAILABLE; who waits for a sandbox waits for the controller too', () =>
    scene(async ({ remote, serve }) => {
      const controller = new ProxySandboxController(remote);
      await fails(controller.start(POD, 'a'), 'UNAVAILABLE', /"other" does not answer at/);
      const waiting = controller.wait(POD, 'a');
      await serve(sandboxes({ wait: async () => exit }));
      assert.deepEqual(await waiting, exited);
    }));

  it('that dies while somebody waits for a sandbox is asked again once it is back', () =>
    scene(async ({ remote, serve }) => {
      const { service, entered } = waitedAt();
      const dying = await serve(service);
      const waiting = new ProxySandboxController(remote).wait(POD, 'a');
      await entered;
      await dying.stop();
      await serve(sandboxes({ wait: async () => exit }));
      assert.deepEqual(await waiting, exited);
    }, 0.2));

  it('that ends in a call without a word: UNAVAILABLE', () =>
    scene(async ({ remote, serve }) => {
      const entered = Promise.withResolvers<void>();
      const start = (): Promise<never> => {
        entered.resolve();
        return never();
      };
      const dying = await serve(sandboxes({ start }));
      const call = fails(
        new ProxySandboxController(remote).start(POD, 'a'),
        'UNAVAILABLE',
        /"other", start of sandbox "a"/,
      );
      await entered.promise;
      await dying.stop();
      await call;
    }, 10));

  it('is not waited at any longer when the caller has gone, or the proxy is closed', () =>
    scene(async ({ remote, serve }) => {
      const { service, entered } = waitedAt();
      await serve(service);
      const caller = new AbortController();
      const controller = new ProxySandboxController(remote);
      const left = assert.rejects(controller.wait({ ...POD, signal: caller.signal }, 'a'));
      await entered;
      caller.abort();
      await left;
      const closed = assert.rejects(controller.wait(POD, 'a'));
      remote.close();
      await closed;
    }));

  it('that hangs: DEADLINE_EXCEEDED, after the time that a stop was given besides', () =>
    scene(async ({ remote, serve }) => {
      await serve(sandboxes({ start: never, stop: never }));
      const controller = new ProxySandboxController(remote);
      await fails(controller.start(POD, 'a'), 'DEADLINE_EXCEEDED', /start of sandbox "a": no answer/);
      const began = performance.now();
      await fails(controller.stop(POD, 'a', 1), 'DEADLINE_EXCEEDED', /stop of sandbox "a": no answer within 1\.4 s/);
      assert.ok(performance.now() - began > 1200, 'the second that the sandbox has counts');
    }));

  it('that fails, or serves only a part: its own errors, with its name', () =>
    scene(async ({ remote, serve }) => {
      const known = sandboxes({ shutdown: async () => ({}) });
      const { update: _, ...methods } = ControllerDefinition.methods;
      await serve({ ...known, definition: { ...ControllerDefinition, methods } });
      const controller = new ProxySandboxController(remote);
      await controller.shutdown(POD, 'a');
      await fails(controller.start(POD, 'a'), 'INTERNAL', /"other", start of sandbox "a"/);
      const sandbox = { id: 'a', labels: {}, runtime: { name: '' }, extensions: {}, sandboxer: 'other' };
      await fails(controller.update(POD, sandbox, []), 'UNIMPLEMENTED', /"other", update of sandbox "a"/);
    }));

  it('that lies: DATA_LOSS for answers about another sandbox, and for none', () =>
    scene(async ({ remote, serve }) => {
      const times = { createdAt: undefined, exitedAt: undefined };
      const nowhere = { pid: 1, address: '', version: 0 };
      await serve(
        sandboxes({
          create: async () => ({ sandboxId: 'b' }),
          start: async () => ({ sandboxId: 'b', createdAt: undefined, labels: {}, spec: undefined, ...nowhere }),
          status: async () => ({ sandboxId: 'b', state: '', info: {}, extra: undefined, ...times, ...nowhere }),
          platform: async () => ({ platform: undefined }),
          metrics: async () => ({ metrics: undefined }),
        }),
      );
      const controller = new ProxySandboxController(remote);
      const sandbox = { id: 'a', labels: {}, runtime: { name: '' }, extensions: {}, sandboxer: 'other' };
      const asked = { sandbox, rootfs: [], networkNamespace: '', annotations: {} };
      const other = /asked about sandbox "a" and answers about "b"/;
      await fails(controller.create(POD, asked), 'DATA_LOSS', other);
      await fails(controller.start(POD, 'a'), 'DATA_LOSS', other);
      await fails(controller.status(POD, 'a', false), 'DATA_LOSS', other);
      await fails(controller.platform(POD, 'a'), 'DATA_LOSS', /knows no platform of sandbox "a"/);
      await fails(controller.metrics(POD, 'a'), 'DATA_LOSS', /has no metrics of sandbox "a"/);
    }));
});

describe('a process behind a proxy', () => {
  it('that is not there: UNAVAILABLE, with the socket; one that comes while a call waits is used', () =>
    scene(async ({ remote, serve }) => {
      const snapshotter = new ProxySnapshotter(remote, []);
      await fails(snapshotter.stat('a'), 'UNAVAILABLE', /"other" does not answer at ".*\/s"/);
      const waiting = snapshotter.stat('a');
      await serve(honest);
      assert.equal((await waiting).name, 'a');
    }));

  it('that dies in a call: UNAVAILABLE; once it is back, so is the connection', () =>
    scene(async ({ remote, serve }) => {
      const snapshotter = new ProxySnapshotter(remote, []);
      const entered = Promise.withResolvers<void>();
      const dying = await serve(
        snapshots({
          stat(_, { signal }) {
            entered.resolve();
            return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
          },
        }),
      );
      const call = fails(snapshotter.stat('a'), 'UNAVAILABLE', /"other"/);
      await entered.promise;
      await dying.stop();
      await call;
      await serve(honest);
      assert.equal((await snapshotter.stat('a')).name, 'a');
    }, 10));

  it('that hangs: DEADLINE_EXCEEDED', () =>
    scene(async ({ remote, serve }) => {
      await serve(snapshots({ stat: never }));
      await fails(new ProxySnapshotter(remote, []).stat('a'), 'DEADLINE_EXCEEDED', /no answer within 0\.4 s/);
    }));

  it('that fails: its own error, with its name', () =>
    scene(async ({ remote, serve }) => {
      await serve(snapshots({ stat: unused }));
      await fails(new ProxySnapshotter(remote, []).stat('a'), 'INTERNAL', /"other", stat of snapshot "a"/);
    }));

  it('that serves something else: UNIMPLEMENTED', () =>
    scene(async ({ remote, serve }) => {
      await serve(content({}));
      await fails(new ProxySnapshotter(remote, []).stat('a'), 'UNIMPLEMENTED', /"other"/);
    }));

  it('that lies about snapshots: DATA_LOSS, or an error of the numbers', () =>
    scene(async ({ remote, serve }) => {
      await serve(
        snapshots({
          stat: async ({ key }) =>
            key === 'nothing'
              ? { info: undefined }
              : { info: { ...info('b'), kind: key === 'kind' ? Kind.UNKNOWN : 2 } },
          usage: async () => ({ size: -1n, inodes: 1n }),
          async *list() {
            yield { info: [{ ...info('x'), kind: Kind.UNKNOWN }] };
          },
        }),
      );
      const snapshotter = new ProxySnapshotter(remote, []);
      await fails(snapshotter.stat('a'), 'DATA_LOSS', /asked about "a" and answers about "b"/);
      await fails(snapshotter.stat('nothing'), 'DATA_LOSS', /what is no snapshot/);
      await fails(snapshotter.stat('kind'), 'DATA_LOSS', /what is no snapshot/);
      await fails(snapshotter.usage('a'), 'DATA_LOSS', /less than nothing/);
      await fails(Array.fromAsync(snapshotter.walk()), 'DATA_LOSS', /what is no snapshot/);
    }));

  it('that answers garbage: an error, and the next call is answered', () =>
    scene(async ({ remote, serve }) => {
      const garbage = {
        definition: {
          fullName: SnapshotsDefinition.fullName,
          methods: {
            stat: {
              ...SnapshotsDefinition.methods.stat,
              responseType: { encode: () => ({ finish: () => Buffer.from('ffffffffffffff', 'hex') }), decode: unused },
            },
            usage: SnapshotsDefinition.methods.usage,
          },
        },
        handlers: { stat: async () => ({}), usage: async () => ({ size: 5n, inodes: 1n }) },
      };
      await serve(garbage);
      const snapshotter = new ProxySnapshotter(remote, []);
      await assert.rejects(snapshotter.stat('a'), /"other", stat/);
      assert.deepEqual(await snapshotter.usage('a'), { size: 5, inodes: 1 });
    }));

  it('that never ends a list, or dies in it: an error in time', () =>
    scene(async ({ remote, serve }) => {
      const server = await serve(
        snapshots({
          async *list() {
            yield { info: [info('x')] };
            await never();
          },
        }),
      );
      const snapshotter = new ProxySnapshotter(remote, []);
      await fails(Array.fromAsync(snapshotter.walk()), 'DEADLINE_EXCEEDED', /list of snapshots/);
      const listing = assert.rejects(Array.fromAsync(snapshotter.walk()));
      await server.stop();
      await listing;
    }));

  it('that lies about blobs: DATA_LOSS for another digest, and for too many or too few bytes', () =>
    scene(async ({ remote, serve }) => {
      let bytes = 0;
      await serve(
        content({
          info: async ({ digest }) => (digest === DIGEST ? blob(digest, 10n) : blob(DIGEST, 10n)),
          async *read() {
            yield { offset: 0n, data: new Uint8Array(bytes) };
          },
        }),
      );
      const store = new ProxyContentStore(remote);
      await fails(store.info(`sha256:${'1'.repeat(64)}`), 'DATA_LOSS', /answers about "sha256:000/);
      const reader = await store.reader(DIGEST);
      for (const [count, message] of [
        [11, /more of/],
        [9, /9 of 10 bytes/],
      ] as const) {
        bytes = count;
        await fails(reader.read(new Uint8Array(10), 0), 'DATA_LOSS', message);
      }
    }));

  it('that commits other bytes than were written: DATA_LOSS', () =>
    scene(async ({ remote, serve }) => {
      const answer = (action: WriteAction, offset: bigint) => ({
        action,
        offset,
        total: 0n,
        digest: DIGEST,
        startedAt: undefined,
        updatedAt: undefined,
      });
      await serve(
        content({
          info: async ({ digest }) => blob(digest, 1n),
          status: async ({ ref }) => ({
            status: { ref, offset: 0n, total: 0n, expected: '', startedAt: undefined, updatedAt: undefined },
          }),
          async *write(requests) {
            let offset = 0n;
            for await (const { action, data } of requests) {
              offset += BigInt(data.length);
              yield answer(action, offset);
            }
          },
        }),
      );
      const writer = await new ProxyContentStore(remote).writer({ ref: 'r' });
      await writer.write(Buffer.from('x'));
      await fails(writer.commit({}), 'DATA_LOSS', /committed "sha256:000.*" where "sha256:2d711642/);
      await writer.close();
    }));

  it('that hangs in a write: DEADLINE_EXCEEDED', () =>
    scene(async ({ remote, serve }) => {
      await serve(
        content({
          async *write() {
            await never();
            yield* [];
          },
        }),
      );
      await fails(new ProxyContentStore(remote).writer({ ref: 'r' }), 'DEADLINE_EXCEEDED', /opening of ingest "r"/);
    }));
});
