/** A daemon with a sandbox controller of another process, which comes, goes and comes back. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect } from '../../client/index.js';
import { SandboxControllers } from '../../kernel/contracts/sandbox-controllers.js';
import { Daemon, MemorySandboxController, providing, scratch, startTestKernel } from '../harness/index.js';
import { coded } from '../harness/metadata.js';

const directory = await scratch('pods');
after(() => directory[Symbol.asyncDispose]());
const address = join(directory.path, 's');
const controller = new MemorySandboxController();

/** The process of the controller: what it knows outlives it. */
const lender = () =>
  startTestKernel({
    plugins: [
      'events',
      'sandbox-controllers-service',
      'server-grpc',
      providing(SandboxControllers, controller, 'pods'),
    ],
    config: { 'server-grpc': { address } },
  });

const config = `[proxy_plugins.pods]
type = "sandbox"
address = "${address}"
connect_timeout = 3
`;
const daemon = await Daemon.start({ kind: 'keelsond', config });
after(() => daemon[Symbol.asyncDispose]());
const client = connect({ address: daemon.address, namespace: 'e2e-pods' });
after(() => client[Symbol.dispose]());

const about = { sandboxId: 'pod', sandboxer: 'pods' };

test('the controller is shown, may be late, and is found again after its end, by who waits too', async () => {
  const { plugins } = await client.introspection.plugins({ filters: ['type==io.containerd.sandbox.controller.v1'] });
  assert.deepEqual(
    plugins.map(({ id, initErr }) => [id, initErr]),
    [['pods', undefined]],
  );
  await assert.rejects(client.sandboxController.create(about), coded('UNAVAILABLE', /"pods" does not answer at/));
  let exited: ReturnType<typeof client.sandboxController.wait>;
  {
    await using _ = await lender();
    await client.sandboxController.create(about);
    await client.sandboxController.start(about);
    exited = client.sandboxController.wait(about);
    assert.equal((await client.sandboxController.status(about)).state, 'SANDBOX_READY');
  }
  await assert.rejects(client.sandboxController.status(about), coded('UNAVAILABLE'));
  {
    await using _ = await lender();
    assert.equal((await client.sandboxController.status(about)).state, 'SANDBOX_READY');
    controller.end({ namespace: 'e2e-pods' }, 'pod', 9);
    assert.equal((await exited).exitStatus, 9);
    await client.sandboxController.shutdown(about);
  }
});

test('records of sandboxes outlive the daemon, and hold their namespace', async () => {
  const runtime = { name: 'vm' };
  await client.sandboxes.create({ sandbox: { ...about, runtime, labels: { a: '1' } } });
  await daemon.kill();
  await daemon.start();
  using again = connect({ address: daemon.address, namespace: 'e2e-pods' });
  const { sandbox } = await again.sandboxes.get({ sandboxId: 'pod' });
  assert.deepEqual([sandbox?.labels, sandbox?.runtime?.name, sandbox?.sandboxer], [{ a: '1' }, 'vm', 'pods']);
  await assert.rejects(again.namespaces.delete({ name: 'e2e-pods' }), coded('FAILED_PRECONDITION', /sandboxes/));
  await again.sandboxes.delete({ sandboxId: 'pod' });
  await again.namespaces.delete({ name: 'e2e-pods' });
});
