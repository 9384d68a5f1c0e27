import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { CheckpointOptions, Options } from '../../api/gen/runtime/runc-options.js';
import { type Container, Containers } from '../../kernel/contracts/containers.js';
import { Content } from '../../kernel/contracts/content.js';
import { type Runtime, Runtimes } from '../../kernel/contracts/runtime.js';
import { Tasks } from '../../kernel/contracts/tasks.js';
import { notFound } from '../../kernel/errors.js';
import { packAny } from '../../lib/rpc/any.js';
import { SPEC_URL } from '../../test/conformance/container.js';
import { providing, startTestKernel } from '../../test/harness/kernel.js';
import { MemoryContent, MemoryLeases } from '../../test/harness/memory.js';
import { scratch } from '../../test/harness/scratch.js';

const scope = { namespace: 'ns' };
const spec = { typeUrl: SPEC_URL, value: Buffer.from('{}') };
const streams = { terminal: false, stdin: '', stdout: '', stderr: '' };

const container = (id: string, runtime: string): Container => ({
  id,
  labels: {},
  image: '',
  runtime: { name: runtime, options: { typeUrl: 'stored', value: Buffer.alloc(0) } },
  spec,
  snapshotter: '',
  snapshotKey: '',
  createdAt: 0n,
  updatedAt: 0n,
  extensions: {},
  sandbox: '',
});

const records = [
  container('a', 'io.containerd.known.v1'),
  container('b', 'io.containerd.other.v9'),
  container('c', 'x'),
];

const unused = (): never => assert.fail('not to be called');

const containers: Containers = {
  async get(_scope, id) {
    const found = records.find((record) => record.id === id);
    if (found === undefined) throw notFound(`container "${id}"`);
    return found;
  },
  list: async () => records,
  create: unused,
  update: unused,
  delete: unused,
};

/** A runtime that only remembers; tasks named `mute` never answer. */
function fakeRuntime(names: readonly string[], calls: string[]): Runtime {
  const ids: string[] = [];
  return {
    names,
    tasks: () => ids,
    namespaces: () => ['ns'],
    async create(_scope, { id, runtime, options, runtimePath = '', checkpoint = '' }) {
      calls.push(['create', id, runtime, options?.typeUrl, runtimePath, checkpoint].join(' ').trim());
      ids.push(id);
      return { pid: 7 };
    },
    start: async () => ({ pid: 7 }),
    delete: async () => ({ pid: 7, exitStatus: 0, exitedAt: 0n }),
    state: ({ signal }, { id }) =>
      id === 'b'
        ? new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
        : Promise.resolve({ id, pid: 7, status: 'running', ...streams }),
    exec: async () => {},
    kill: async () => {},
    resize: async () => {},
    closeStdin: async () => {},
    pause: async () => {},
    resume: async () => {},
    pids: async () => [],
    checkpoint: async (_scope, { id, path }) => {
      calls.push(`checkpoint ${id} to ${path}`);
    },
    update: async () => {},
    stats: async (_scope, id) => ({ typeUrl: `stats of ${id}`, value: Buffer.alloc(0) }),
    wait: async () => ({ exitStatus: 0, exitedAt: 0n }),
    facts: async (name) => ({ name, version: '', revision: '', annotations: {} }),
  };
}

async function setUp() {
  const calls: string[] = [];
  const kernel = await startTestKernel({
    plugins: [
      providing(Containers, containers),
      providing(Content, new MemoryContent(new MemoryLeases())),
      providing(Runtimes, fakeRuntime(['io.containerd.known.v1'], calls), 'exact'),
      providing(Runtimes, fakeRuntime(['io.containerd.*'], calls), 'pattern'),
      'tasks',
    ],
  });
  return { calls, tasks: kernel.get(Tasks), [Symbol.asyncDispose]: () => kernel[Symbol.asyncDispose]() };
}

describe('tasks', () => {
  it('belong to a container, and go to the runtime that serves its runtime name', async () => {
    await using setup = await setUp();
    const { tasks, calls } = setup;
    await assert.rejects(tasks.create(scope, { id: 'nobody', rootfs: [], ...streams }), { code: 'NOT_FOUND' });
    await tasks.create(scope, { id: 'a', rootfs: [], ...streams });
    await tasks.create(scope, { id: 'b', rootfs: [], ...streams, options: { typeUrl: 'own', value: Buffer.alloc(0) } });
    assert.deepEqual(calls, ['create a io.containerd.known.v1 stored', 'create b io.containerd.other.v9 own']);
    await assert.rejects(tasks.create(scope, { id: 'a', rootfs: [], ...streams }), { code: 'ALREADY_EXISTS' });
    await assert.rejects(tasks.create(scope, { id: 'c', rootfs: [], ...streams }), {
      code: 'NOT_FOUND',
      message: /runtime "x" is unknown; known are io\.containerd\.known\.v1, io\.containerd\.\*/,
    });
    await assert.rejects(tasks.start(scope, { id: 'c' }), { code: 'NOT_FOUND' });
  });

  it('go to the runtime or shim that is asked for instead of that of the container', async () => {
    await using setup = await setUp();
    const { tasks, calls } = setup;
    await tasks.create(scope, { id: 'c', rootfs: [], ...streams, runtimePath: 'io.containerd.own.v1' });
    assert.deepEqual(calls, ['create c x stored io.containerd.own.v1']);
    await assert.rejects(tasks.create(scope, { id: 'a', rootfs: [], ...streams, runtimePath: '/opt/shim' }), {
      code: 'NOT_FOUND',
      message: /runtime "\/opt\/shim" is unknown/,
    });
  });

  it('are checkpointed to, and restored from, directories that the options name, which stay', async () => {
    await using setup = await setUp();
    await using image = await scratch('image');
    const { tasks, calls } = setup;
    const restoring = packAny(Options, Options.fromPartial({ criuImagePath: image.path }));
    await tasks.create(scope, { id: 'a', rootfs: [], ...streams, options: restoring });
    assert.deepEqual(calls.splice(0), [`create a io.containerd.known.v1 ${restoring.typeUrl}  ${image.path}`]);
    const checkpoint = (given: Partial<CheckpointOptions>) =>
      tasks.checkpoint(scope, { id: 'a', options: packAny(CheckpointOptions, CheckpointOptions.fromPartial(given)) });
    assert.deepEqual(await checkpoint({ imagePath: image.path, parentPath: '../parent' }), []);
    assert.deepEqual(calls, [`checkpoint a to ${image.path}`]);
    await assert.rejects(checkpoint({ parentPath: '../parent' }), { code: 'INVALID_ARGUMENT', message: /image_path/ });
    for (const end of [tasks.start, tasks.delete]) await end.call(tasks, scope, { id: 'a' });
    assert.ok(existsSync(image.path));
  });

  it('whose runtime does not answer are unknown, in two seconds', async () => {
    await using setup = await setUp();
    const { tasks } = setup;
    for (const id of ['a', 'b']) await tasks.create(scope, { id, rootfs: [], ...streams });
    const begin = performance.now();
    const states = await tasks.list(scope);
    assert.ok(performance.now() - begin < 3000);
    assert.deepEqual(
      states.map(({ id, status }) => [id, status]),
      [
        ['a', 'running'],
        ['b', 'unknown'],
      ],
    );
  });

  it('are measured as the filters say', async () => {
    await using setup = await setUp();
    const { tasks } = setup;
    for (const id of ['a', 'b']) await tasks.create(scope, { id, rootfs: [], ...streams });
    const measured = async (...filters: string[]): Promise<string[]> =>
      (await tasks.metrics(scope, filters)).map(({ data }) => data.typeUrl);
    assert.deepEqual(await measured(), ['stats of a', 'stats of b']);
    assert.deepEqual(await measured('id==b'), ['stats of b']);
    assert.deepEqual(await measured('runtime==io.containerd.known.v1'), ['stats of a']);
    assert.deepEqual(await measured('namespace!=ns'), []);
  });
});
