/** Services that come and go while the server runs. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { VersionDefinition } from '../../api/gen/services/version.js';
import { type Client, connect } from '../../client/index.js';
import { type GrpcService, GrpcServices } from '../../kernel/contracts/grpc.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { Registry } from '../../kernel/registry.js';
import { implement } from '../../lib/rpc/definition.js';
import { scratch } from '../../test/harness/scratch.js';
import { GrpcServer } from './server.js';

const MIB = 1024 * 1024;

const saying = (version: string): GrpcService =>
  implement(VersionDefinition, { version: async () => ({ version, revision: '' }) });

interface Subject {
  readonly registry: Registry;
  readonly client: Client;
  readonly expected: Set<string>;
  readonly logged: string[];
}

async function withServer(drain: number, body: (subject: Subject) => Promise<void>): Promise<void> {
  await using directory = await scratch('grpc');
  const registry = new Registry();
  const expected = new Set<string>();
  const logged: string[] = [];
  const server = new GrpcServer({
    services: registry.many(GrpcServices),
    isExpected: (id) => expected.has(id),
    limits: { maxReceive: MIB, maxSend: MIB, drain },
    log: pino({ level: 'error' }, { write: (line: string) => void logged.push(line) }),
  });
  const path = join(directory.path, 'd.sock');
  await server.start({ path, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });
  using client = connect({ address: path });
  await body({ registry, client, expected, logged });
  await server.stop();
}

const refused = (client: Client, code: ErrorCode): Promise<void> =>
  assert.rejects(client.version.version({}), (error) => hasCode(error, code));

const answer = async (client: Client): Promise<string> => (await client.version.version({})).version;

test('a service is served from when it is offered, refused while it restarts, and unimplemented once it is gone', () =>
  withServer(300, async ({ registry, client, expected }) => {
    await refused(client, 'UNIMPLEMENTED');
    registry.offer(GrpcServices, 'version', saying('one'));
    assert.equal(await answer(client), 'one');
    expected.add('version');
    await registry.withdraw(GrpcServices, 'version');
    await refused(client, 'UNAVAILABLE');
    registry.offer(GrpcServices, 'version', saying('two'));
    assert.equal(await answer(client), 'two');
    expected.clear();
    await registry.withdraw(GrpcServices, 'version');
    await refused(client, 'UNIMPLEMENTED');
  }));

test('a call under way ends by itself before its service is let go of', () =>
  withServer(5000, async ({ registry, client }) => {
    const entered = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const slow = implement(VersionDefinition, {
      async version() {
        entered.resolve();
        await gate.promise;
        return { version: 'late', revision: '' };
      },
    });
    registry.offer(GrpcServices, 'version', slow);
    const call = answer(client);
    await entered.promise;
    let isGone = false;
    const gone = registry.withdraw(GrpcServices, 'version').then(() => {
      isGone = true;
    });
    await refused(client, 'UNIMPLEMENTED');
    assert.equal(isGone, false, 'the service is still in use');
    gate.resolve();
    assert.equal(await call, 'late');
    await gone;
  }));

test('a call that outlives the drain time is ended with UNAVAILABLE', () =>
  withServer(50, async ({ registry, client, expected }) => {
    const entered = Promise.withResolvers<void>();
    const endless = implement(VersionDefinition, {
      version(_, { signal }) {
        entered.resolve();
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      },
    });
    registry.offer(GrpcServices, 'version', endless);
    const call = assert.rejects(answer(client), (error) => hasCode(error, 'UNAVAILABLE'));
    await entered.promise;
    expected.add('version');
    await registry.withdraw(GrpcServices, 'version');
    await call;
  }));

test('of two plugins that serve one service the first does, until it goes; the log names both', () =>
  withServer(50, async ({ registry, client, logged }) => {
    registry.offer(GrpcServices, 'first', saying('first'));
    registry.offer(GrpcServices, 'second', saying('second'));
    assert.equal(await answer(client), 'first');
    assert.match(logged.join(''), /"plugin":"first","refused":"second"/);
    await registry.withdraw(GrpcServices, 'first');
    assert.equal(await answer(client), 'second');
  }));
