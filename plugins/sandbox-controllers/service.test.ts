/** Sandboxes as clients of a daemon have them: records, and controllers, its own and those of another process. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { decodeEvent } from '../../api/events.js';
import { type Client, connect } from '../../client/index.js';
import { Events } from '../../kernel/contracts/events.js';
import { SandboxControllers } from '../../kernel/contracts/sandbox-controllers.js';
import { hasCode } from '../../kernel/errors.js';
import { providing, startTestKernel } from '../../test/harness/kernel.js';
import { MemorySandboxController } from '../../test/harness/memory-sandboxes.js';
import { coded } from '../../test/harness/metadata.js';
import { scratch } from '../../test/harness/scratch.js';
import { proxyPlugin } from '../proxy/index.js';

const SCOPE = { namespace: 'pods' };

interface Scene {
  readonly client: Client;
  readonly controller: MemorySandboxController;
  /** Topics and messages since the start. */
  readonly told: () => readonly unknown[];
}

/** A daemon whose sandboxer "memory" is its own, or lent by another daemon. */
async function scene(lent: boolean, body: (scene: Scene) => Promise<void>): Promise<void> {
  await using directory = await scratch('sandboxes');
  await using stack = new AsyncDisposableStack();
  const controller = new MemorySandboxController();
  const own = providing(SandboxControllers, controller, 'memory');
  const kernelOf = async (name: string, ...plugins: Parameters<typeof startTestKernel>[0]['plugins']) => {
    const address = join(directory.path, name);
    const config = {
      'server-grpc': { address },
      memory: { type: 'sandbox', address: join(directory.path, 'lender') },
    };
    const all = ['events', 'sandbox-controllers-service', 'server-grpc', ...plugins];
    return { address, kernel: stack.use(await startTestKernel({ plugins: all, config })) };
  };
  if (lent) await kernelOf('lender', own);
  const here = lent ? proxyPlugin('memory', 'io.containerd.sandbox.controller.v1') : own;
  const { address, kernel } = await kernelOf('daemon', here);
  const stop = new AbortController();
  stack.defer(() => stop.abort());
  const seen: unknown[] = [];
  const subscription = kernel.get(Events).subscribe([], stop.signal);
  void (async () => {
    for await (const { namespace, topic, event } of subscription) seen.push([namespace, topic, decodeEvent(event)]);
  })();
  using client = connect({ address, ...SCOPE });
  await body({ client, controller, told: () => seen });
}

for (const lent of [false, true])
  describe(`sandboxes of a controller ${lent ? 'in another process' : 'of the daemon'}`, () => {
    it('are created, started, waited for, stopped and shut down, which is told', () =>
      scene(lent, async ({ client: { sandboxController: sandboxes }, controller, told }) => {
        const about = { sandboxId: 'one', sandboxer: 'memory' };
        const rootfs = [{ type: 'bind', source: '/r', target: '', options: ['ro'] }];
        const options = { typeUrl: 'own', value: new Uint8Array([1, 2]) };
        const sandbox = { sandboxId: 'one', runtime: { name: 'vm' }, labels: { a: '1' }, sandboxer: 'memory' };
        const more = { rootfs, options, netnsPath: '/run/netns/x', annotations: { b: '2' } };
        assert.equal((await sandboxes.create({ ...about, ...more, sandbox })).sandboxId, 'one');
        const asked = controller.sandboxes.get('pods/one')?.asked;
        assert.deepEqual(
          [asked?.networkNamespace, asked?.annotations, asked?.rootfs],
          ['/run/netns/x', { b: '2' }, rootfs],
        );
        assert.deepEqual([asked?.sandbox.runtime, asked?.sandbox.labels], [{ name: 'vm' }, { a: '1' }]);
        assert.deepEqual([asked?.options?.typeUrl, [...(asked?.options?.value ?? [])]], ['own', [1, 2]]);

        const started = await sandboxes.start(about);
        assert.deepEqual([started.sandboxId, started.pid, started.labels], ['one', 0, { a: '1' }]);
        assert.equal((await sandboxes.platform(about)).platform?.os, 'linux');
        assert.equal((await sandboxes.metrics(about)).metrics?.id, 'one');
        const { state, info } = await sandboxes.status({ ...about, verbose: true });
        assert.deepEqual([state, info], ['SANDBOX_READY', { labels: '{"a":"1"}' }]);
        await sandboxes.update({ ...about, sandbox: { ...sandbox, labels: { a: '3' } }, fields: ['labels'] });
        assert.equal((await sandboxes.status({ ...about, verbose: true })).info.labels, '{"a":"3"}');

        const waiting = sandboxes.wait(about);
        controller.end(SCOPE, 'one', 7);
        const { exitStatus, exitedAt } = await waiting;
        assert.equal(exitStatus, 7);
        await sandboxes.stop({ ...about, timeoutSecs: 1 });
        assert.equal((await sandboxes.status(about)).state, 'SANDBOX_NOTREADY');
        await sandboxes.shutdown(about);
        await assert.rejects(sandboxes.status(about), coded('NOT_FOUND', /"one"/));
        assert.deepEqual(told(), [
          ['pods', '/sandboxes/create', { sandboxId: 'one' }],
          ['pods', '/sandboxes/start', { sandboxId: 'one' }],
          ['pods', '/sandboxes/exit', { sandboxId: 'one', exitStatus: 7, exitedAt }],
        ]);
      }));

    it('that nobody made are refused, and a create that fails tells nothing', () =>
      scene(lent, async ({ client: { sandboxController: sandboxes }, told }) => {
        const about = { sandboxId: 'none', sandboxer: 'memory' };
        const calls = [sandboxes.start, sandboxes.platform, sandboxes.stop, sandboxes.wait, sandboxes.status];
        for (const call of [...calls, sandboxes.shutdown, sandboxes.metrics])
          await assert.rejects(call(about), coded('NOT_FOUND', /"none"/));
        await sandboxes.create({ sandboxId: 'two', sandboxer: 'memory' });
        await assert.rejects(sandboxes.create({ sandboxId: 'two', sandboxer: 'memory' }), coded('ALREADY_EXISTS'));
        assert.deepEqual(told(), [['pods', '/sandboxes/create', { sandboxId: 'two' }]]);
      }));
  });

describe('sandboxers', () => {
  it('must be named, and known', () =>
    scene(false, async ({ client: { sandboxController: sandboxes } }) => {
      await assert.rejects(sandboxes.start({ sandboxId: 'x' }), coded('INVALID_ARGUMENT', /must be named/));
      await assert.rejects(sandboxes.start({ sandboxId: 'x', sandboxer: 'y' }), (error) => {
        assert.ok(hasCode(error, 'NOT_FOUND'));
        assert.match(String(error), /sandboxer "y" is unknown.*memory/s);
        return true;
      });
      await assert.rejects(sandboxes.create({ sandboxer: 'memory' }), coded('INVALID_ARGUMENT', /id/));
      const two = { sandboxId: 'x', sandbox: { sandboxId: 'z' }, sandboxer: 'memory' };
      await assert.rejects(sandboxes.create(two), coded('INVALID_ARGUMENT', /"x" and "z"/));
      await assert.rejects(sandboxes.update({ sandboxId: 'x', sandboxer: 'memory' }), coded('INVALID_ARGUMENT'));
    }));
});
