import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { z } from 'zod';
import { RuntimeInfo, RuntimeRequest } from '../../api/gen/types/introspection.js';
import { type Client, connect } from '../../client/index.js';
import { type Runtime, Runtimes } from '../../kernel/contracts/runtime.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { packAny, unpackAny } from '../../lib/rpc/any.js';
import { VERSION } from '../../lib/version.js';
import { startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { persistentId } from './identity.js';

const run = promisify(execFile);
const code = (expected: ErrorCode) => (error: unknown) => hasCode(error, expected);

const notHere = definePlugin({
  id: 'not-here',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'zfs' },
  config: z.object({}).strict(),
  requires: {},
  provides: {},
  start: async ({ skip }) => skip('no pool of that name'),
});

const broken = definePlugin({
  id: 'broken',
  api: 1,
  wire: { type: 'io.containerd.snapshotter.v1', id: 'broken' },
  config: z.object({}).strict(),
  requires: {},
  provides: {},
  start: async () => {
    throw new Error('it fell over');
  },
});

const unused = async (): Promise<never> => assert.fail('not part of this test');

/** Says something of itself, and nothing else. */
const talkative: Runtime = {
  names: ['io.containerd.runc.v2'],
  tasks: () => [],
  namespaces: () => [],
  create: unused,
  start: unused,
  delete: unused,
  state: unused,
  exec: unused,
  kill: unused,
  resize: unused,
  closeStdin: unused,
  pause: unused,
  resume: unused,
  pids: unused,
  checkpoint: unused,
  update: unused,
  stats: unused,
  wait: unused,
  facts: async (name) => ({ name, version: '1.2.3', revision: 'r', annotations: { a: 'b' } }),
};

const runtime = definePlugin({
  id: 'runtime',
  api: 1,
  wire: { type: 'io.containerd.runtime.v2', id: 'task' },
  config: z.object({}).strict(),
  requires: {},
  provides: { runtime: Runtimes },
  async start({ advertise }) {
    advertise({ platforms: ['linux/amd64', 'linux/arm/v7'], capabilities: ['c'], exports: { root: '/x' } });
    return { runtime: talkative };
  },
});

describe('a daemon of version, health and introspection', () => {
  let dir: Scratch;
  let kernel: TestKernel;
  let client: Client;
  let address: string;

  const start = () =>
    startTestKernel({
      plugins: ['version', 'health', 'introspection', 'server-grpc', notHere, broken, runtime],
      config: { 'server-grpc': { address } },
      settings: { 'not-here': { required: false }, broken: { required: false } },
      directory: dir.path,
    });

  const ctr = async (...args: string[]) => (await run('ctr', ['--address', address, ...args])).stdout;

  before(async () => {
    dir = await scratch('introspection');
    address = join(dir.path, 's');
    kernel = await start();
    client = connect({ address });
  });
  after(async () => {
    client[Symbol.dispose]();
    await kernel.stop();
    await dir[Symbol.asyncDispose]();
  });

  it('tells stock ctr its version', async () => {
    const text = await ctr('version');
    assert.match(text, new RegExp(`Server:\\n\\s+Version:\\s+${VERSION}`));
    assert.match(text, /UUID: [0-9a-f-]{36}/);
  });

  it('tells stock ctr its plugins, with skip and error apart', async () => {
    const rows = (await ctr('plugins', 'ls'))
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(/\s+/).slice(0, 4));
    assert.deepEqual(
      rows
        .filter(([, id]) => ['zfs', 'broken', 'task', 'version', 'healthcheck', 'introspection'].includes(id ?? ''))
        .sort(),
      [
        ['io.containerd.grpc.v1', 'healthcheck', '-', 'ok'],
        ['io.containerd.grpc.v1', 'introspection', '-', 'ok'],
        ['io.containerd.grpc.v1', 'version', '-', 'ok'],
        ['io.containerd.runtime.v2', 'task', 'linux/amd64,linux/arm/v7', 'ok'],
        ['io.containerd.snapshotter.v1', 'broken', '-', 'error'],
        ['io.containerd.snapshotter.v1', 'zfs', '-', 'skip'],
      ],
    );
    assert.match(
      await ctr('plugins', 'ls', '-d', 'id==task'),
      /Exports:[\s\S]*\sroot\s+\/x\s[\s\S]*Capabilities:\s+c\s/,
    );
    assert.match(await ctr('plugins', 'ls', '-d', 'id==zfs'), /Message:\s+.*no pool of that name.*: skip plugin/);
  });

  it('selects plugins by type and id, which buildkit and dockerd do', async () => {
    const ids = async (...filters: string[]) =>
      (await client.introspection.plugins({ filters })).plugins.map(({ id }) => id);
    assert.deepEqual(await ids('type==io.containerd.runtime.v2'), ['task']);
    assert.deepEqual((await ids('id==zfs', 'id==version')).sort(), ['version', 'zfs']);
    assert.deepEqual(await ids('capabilities==c'), []);
    await assert.rejects(ids('type=x'), code('INVALID_ARGUMENT'));
  });

  it('says who it is, and stays that over a restart', async () => {
    const { uuid, pid, pidns } = await client.introspection.server({});
    assert.equal(pid, BigInt(process.pid));
    assert.equal(`pid:[${pidns}]`, await readlink('/proc/self/ns/pid'));
    assert.equal(await readFile(join(dir.path, 'root/io.containerd.grpc.v1.introspection/uuid'), 'utf8'), uuid);
    await kernel.stop();
    kernel = await start();
    using again = connect({ address });
    assert.equal((await again.introspection.server({})).uuid, uuid);
  });

  it('asks a runtime for more', async () => {
    using fresh = connect({ address });
    const about = { type: 'io.containerd.runtime.v2', id: 'task' };
    const options = packAny(RuntimeRequest, RuntimeRequest.create({ runtimePath: 'io.containerd.runc.v2' }));
    const { plugin, extra } = await fresh.introspection.pluginInfo({ ...about, options });
    assert.equal(plugin?.id, 'task');
    assert.ok(extra);
    const info = unpackAny(RuntimeInfo, extra);
    assert.deepEqual([info.name, info.version], ['io.containerd.runc.v2', { version: '1.2.3', revision: 'r' }]);
    assert.equal((await fresh.introspection.pluginInfo(about)).extra, undefined);
    const refusals: readonly (readonly [object, ErrorCode])[] = [
      [{ type: 'io.containerd.runtime.v2', id: 'none' }, 'NOT_FOUND'],
      [{ type: 'io.containerd.grpc.v1', id: 'version', options }, 'UNIMPLEMENTED'],
      [{ type: 'io.containerd.snapshotter.v1', id: 'zfs', options }, 'FAILED_PRECONDITION'],
      [{ ...about, options: { typeUrl: 'x.Y', value: Buffer.alloc(0) } }, 'INVALID_ARGUMENT'],
    ];
    for (const [request, expected] of refusals) {
      await assert.rejects(fresh.introspection.pluginInfo(request), code(expected));
    }
  });

  it('is healthy as a whole, and knows no parts', async () => {
    using fresh = connect({ address });
    assert.deepEqual(await fresh.health.check({}), { status: 1 });
    await assert.rejects(fresh.health.check({ service: 'x' }), code('NOT_FOUND'));
    const watch = fresh.health.watch({});
    assert.deepEqual((await watch.next()).value, { status: 1 });
    const unknown = fresh.health.watch({ service: 'x' });
    assert.deepEqual((await unknown.next()).value, { status: 3 });
    const ended = assert.rejects(watch.next(), code('CANCELED'));
    watch.cancel();
    await ended;
    await unknown.return?.();
  });
});

describe('the identity of a daemon', () => {
  it('is made when the file is missing or empty, and refused when it holds something else', async () => {
    await using dir = await scratch('identity');
    const made = await persistentId(dir.path);
    assert.equal(await persistentId(dir.path), made);
    await writeFile(join(dir.path, 'uuid'), '');
    assert.notEqual(await persistentId(dir.path), made);
    await writeFile(join(dir.path, 'uuid'), 'nonsense');
    await assert.rejects(persistentId(dir.path), code('FAILED_PRECONDITION'));
  });
});
