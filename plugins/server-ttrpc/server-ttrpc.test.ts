import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { TaskExit } from '../../api/gen/events/task.js';
import { EventsDefinition } from '../../api/gen/services/events-ttrpc.js';
import { type Envelope, Events } from '../../kernel/contracts/events.js';
import { packAny } from '../../lib/rpc/any.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { TtrpcClient } from '../../lib/ttrpc/client.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';

const STAMP = 1_700_000_000_123_456_789n;

async function setUp() {
  const directory = await scratch('ttrpc');
  const address = join(directory.path, 'd.sock.ttrpc');
  const kernel = await startTestKernel({
    plugins: ['events', 'server-ttrpc'],
    config: { 'server-ttrpc': { address } },
  });
  const client = await TtrpcClient.connect(address);
  return {
    address,
    kernel,
    forward: client.stub(EventsDefinition).forward,
    async [Symbol.asyncDispose]() {
      client.close();
      await kernel[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

const exit = packAny(TaskExit, TaskExit.create({ containerId: 'c', id: 'c', pid: 7, exitStatus: 3 }));

test('an event that a shim forwards reaches those who subscribe, as it was stamped', async () => {
  await using setup = await setUp();
  const events = setup.kernel.get(Events).subscribe([], new AbortController().signal);
  const envelope = { timestamp: toTimestamp(STAMP), namespace: 'ns', topic: '/tasks/exit', event: exit };
  await setup.forward({ envelope });
  const { value } = await events[Symbol.asyncIterator]().next();
  const expected: Envelope = { timestamp: STAMP, namespace: 'ns', topic: '/tasks/exit', event: exit };
  assert.deepEqual(
    { ...value, event: { ...value.event, value: Buffer.from(value.event.value) } },
    {
      ...expected,
      event: { ...exit, value: Buffer.from(exit.value) },
    },
  );
});

test('an event that is none is refused', async () => {
  await using setup = await setUp();
  const good = { timestamp: toTimestamp(STAMP), namespace: 'ns', topic: '/tasks/exit', event: exit };
  for (const envelope of [
    undefined,
    { ...good, event: undefined },
    { ...good, timestamp: undefined },
    { ...good, topic: 'tasks' },
    { ...good, namespace: '../x' },
  ]) {
    await assert.rejects(setup.forward({ envelope }), { code: 'INVALID_ARGUMENT' });
  }
});

test('the socket is for the owner and the group alone, and goes with the daemon', async () => {
  const setup = await setUp();
  assert.equal(statSync(setup.address).mode & 0o777, 0o660);
  await setup[Symbol.asyncDispose]();
  assert.equal(existsSync(setup.address), false);
});
