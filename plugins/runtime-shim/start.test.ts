import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { pino } from 'pino';
import { Any } from '../../api/gen/google/protobuf/any.js';
import { BootstrapParams, BootstrapResult } from '../../api/gen/runtime/bootstrap.js';
import { TaskDefinition as TaskV2Definition } from '../../api/gen/runtime/task-v2.js';
import { type ConnectResponse, TaskDefinition } from '../../api/gen/runtime/task-v3.js';
import { createTtrpcServer } from '../../lib/ttrpc/server.js';
import { scratch } from '../../test/harness/scratch.js';
import { findShim, type ShimCommand, startShim } from './binary.js';
import { parseAnswer } from './bootstrap.js';
import { connectShim } from './connection.js';
import { ShimRuntime } from './runtime.js';

const OPTIONS = { typeUrl: 'containerd.runc.v1.Options', value: Buffer.from([0x08, 0x01]) };

async function program(directory: string, script: string, name = 'shim'): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

const command = (directory: string, path: string): ShimCommand => ({
  path,
  bundle: directory,
  id: 'task',
  namespace: 'space',
  options: OPTIONS,
  grpcAddress: '/g',
  ttrpcAddress: '/t',
  publishBinary: '/p',
  environment: { EXTRA: 'yes' },
  deadline: 3000,
});

describe('the answer of a shim', () => {
  it('is understood in all three forms', () => {
    const unix = 'unix:///run/s/x';
    assert.deepEqual(parseAnswer(Buffer.from(unix)), { version: 2, socket: '/run/s/x', protocol: 'ttrpc' });
    assert.deepEqual(parseAnswer(Buffer.from(`noise\n${unix}\n`)), {
      version: 2,
      socket: '/run/s/x',
      protocol: 'ttrpc',
    });
    const json = JSON.stringify({ version: 3, address: unix, protocol: 'grpc' });
    assert.deepEqual(parseAnswer(Buffer.from(json)), { version: 3, socket: '/run/s/x', protocol: 'grpc' });
    const binary = BootstrapResult.encode(
      BootstrapResult.fromPartial({ version: 3, address: unix, protocol: 'ttrpc' }),
    );
    assert.deepEqual(parseAnswer(Buffer.from(binary.finish())), { version: 3, socket: '/run/s/x', protocol: 'ttrpc' });
  });

  it('is refused when it is none', () => {
    for (const text of ['', 'panic: something', '{"version":3}', 'vsock://2:1024', '{"version":9,"address":"/x"}']) {
      assert.throws(() => parseAnswer(Buffer.from(text)), { name: 'KeelsonError' }, text);
    }
  });
});

describe('the program of a shim', () => {
  it('is found by the name of the runtime', async () => {
    assert.throws(() => findShim('../../x'), { code: 'INVALID_ARGUMENT' });
    assert.throws(() => findShim('x'), { code: 'INVALID_ARGUMENT' });
    assert.throws(() => findShim('io.containerd.no-such.v1'), {
      code: 'NOT_FOUND',
      message: /containerd-shim-no-such-v1/,
    });
    assert.throws(() => findShim('/tmp'), { code: 'NOT_FOUND' });
    assert.equal(findShim('/bin/sh'), '/bin/sh');
  });

  it('gets its flags, its environment and the options, in the form it reads', async () => {
    await using directory = await scratch('start');
    const path = await program(
      directory.path,
      'cat > stdin; echo "$*" > args; echo "$TTRPC_ADDRESS $GRPC_ADDRESS $NAMESPACE $EXTRA" > environment; echo unix:///x',
    );
    await startShim(command(directory.path, path));
    const text = async (name: string): Promise<string> => (await readFile(join(directory.path, name), 'utf8')).trim();
    assert.equal(await text('args'), '-namespace space -address /g -publish-binary /p -id task start');
    assert.equal(await text('environment'), '/t /g space yes');
    assert.deepEqual(await readFile(join(directory.path, 'stdin')), Buffer.from(Any.encode(OPTIONS).finish()));
  });

  it('that wants BootstrapParams gets them, the second time at once', async () => {
    await using directory = await scratch('start');
    const path = await program(
      directory.path,
      'echo x >> runs; cat > stdin; grep -aq space stdin || { echo no params >&2; exit 1; }; echo unix:///x',
    );
    for (let i = 0; i < 2; i++) await startShim(command(directory.path, path));
    const params = BootstrapParams.decode(await readFile(join(directory.path, 'stdin')));
    assert.deepEqual([params.instanceId, params.namespace, params.containerdTtrpcAddress], ['task', 'space', '/t']);
    assert.equal(params.extensions[0]?.value?.typeUrl, OPTIONS.typeUrl);
    assert.equal((await readFile(join(directory.path, 'runs'), 'utf8')).length, 6);
  });

  it('that misbehaves is told apart', async () => {
    await using directory = await scratch('start');
    const start = async (script: string): Promise<unknown> =>
      startShim({ ...command(directory.path, await program(directory.path, script)), deadline: 500 });
    await assert.rejects(start('echo broken >&2; exit 3'), { code: 'UNAVAILABLE', message: /broken/ });
    await assert.rejects(start('exec sleep 60'), { code: 'DEADLINE_EXCEEDED' });
    await assert.rejects(start('head -c 3000000 /dev/zero'), { code: 'UNAVAILABLE' });
    await assert.rejects(start('sleep 60 & exit 0'), { code: 'UNAVAILABLE' });
  });
});

describe('a shim', () => {
  const answer: ConnectResponse = { shimPid: 7, taskPid: 8, version: 'x' };

  async function serveTtrpc(directory: string, definition: typeof TaskDefinition): Promise<string> {
    const server = createTtrpcServer([{ definition, handlers: { connect: async () => answer } }], () => undefined);
    const socket = join(directory, 's');
    await new Promise<void>((resolve) => server.server.listen(socket, resolve));
    server.server.unref();
    return socket;
  }

  it('is spoken to in version 3, and in version 2 when it has no other', async () => {
    for (const fullName of [TaskDefinition.fullName, TaskV2Definition.fullName] as const) {
      await using directory = await scratch('connect');
      const definition = { ...TaskDefinition, fullName } as typeof TaskDefinition;
      const socket = await serveTtrpc(directory.path, definition);
      const shim = await connectShim({ version: 3, socket, protocol: 'ttrpc' }, {}, 'task');
      assert.equal((await shim.tasks.connect({ id: 'task' })).shimPid, 7);
      shim.close();
      await shim.ended;
    }
  });

  it('is spoken to over gRPC', async () => {
    await using directory = await scratch('connect');
    const { connect } = TaskDefinition.methods;
    const server = new Server();
    const seen: unknown[] = [];
    server.addService(
      {
        connect: {
          path: `/${TaskDefinition.fullName}/Connect`,
          requestStream: false,
          responseStream: false,
          requestSerialize: () => Buffer.alloc(0),
          requestDeserialize: (bytes: Buffer) => connect.requestType.decode(bytes),
          responseSerialize: (message: ConnectResponse) => Buffer.from(connect.responseType.encode(message).finish()),
          responseDeserialize: () => answer,
        },
      },
      {
        connect: (call: { metadata: { get(key: string): unknown[] } }, done: (e: null, m: ConnectResponse) => void) => {
          seen.push(call.metadata.get('containerd-namespace')[0]);
          done(null, answer);
        },
      },
    );
    const socket = join(directory.path, 's');
    await new Promise((resolve) => server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), resolve));
    const shim = await connectShim({ version: 3, socket, protocol: 'grpc' }, {}, 'task');
    const metadata = { 'containerd-namespace-ttrpc': 'space' };
    assert.equal((await shim.tasks.connect({ id: 'task' }, { metadata })).taskPid, 8);
    assert.equal(seen.at(-1), 'space');
    await assert.rejects(shim.tasks.state({ id: 'task', execId: '' }), { code: 'UNIMPLEMENTED' });
    server.forceShutdown();
    await shim.ended;
    shim.close();
  });

  it('that is mute or gone keeps no daemon from starting', async () => {
    await using directory = await scratch('adopt');
    const silent = createServer(() => undefined);
    const socket = join(directory.path, 'mute.sock');
    await new Promise<void>((resolve) => silent.listen(socket, resolve));
    const path = await program(directory.path, 'exit 1');
    const leave = async (id: string, address: string): Promise<void> => {
      const bundle = join(directory.path, 'state', 'ns', id);
      await mkdir(join(bundle, 'rootfs'), { recursive: true });
      await writeFile(join(bundle, 'shim-binary-path'), path);
      await writeFile(join(bundle, 'bootstrap.json'), JSON.stringify({ version: 2, address, protocol: 'ttrpc' }));
      const { makeFifo } = await import('../../lib/linux/fifo.js');
      makeFifo(join(bundle, 'log'));
    };
    await leave('mute', `unix://${socket}`);
    await leave('gone', `unix://${directory.path}/gone.sock`);
    await mkdir(join(directory.path, 'state', 'ns', 'empty'));
    const topics: string[] = [];
    const begin = performance.now();
    const runtime = await ShimRuntime.open({
      names: ['*'],
      state: join(directory.path, 'state'),
      grpcAddress: '/g',
      ttrpcAddress: '/t',
      publishBinary: '/p',
      environment: {},
      loadDeadline: 500,
      cleanupDeadline: 500,
      shutdownDeadline: 500,
      callDeadline: 500,
      events: {
        publish: (_ns, topic) => topics.push(topic),
        forward: () => undefined,
        subscribe: async function* () {},
      },
      log: pino({ level: 'silent' }),
    });
    assert.ok(performance.now() - begin < 3000);
    assert.deepEqual(runtime.tasks('ns'), ['mute']);
    assert.deepEqual(topics, ['/tasks/exit', '/tasks/delete']);
    assert.deepEqual(readdirSync(join(directory.path, 'state', 'ns')), ['mute']);
    await runtime.close();
    silent.close();
  });
});
