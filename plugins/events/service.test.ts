import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { TaskExit, TaskStart } from '../../api/gen/events/task.js';
import { connect } from '../../client/index.js';
import { Events } from '../../kernel/contracts/events.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { packAny } from '../../lib/rpc/any.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { startTestKernel } from '../../test/harness/kernel.js';
import { scratch } from '../../test/harness/scratch.js';

const start = packAny(TaskStart, TaskStart.create({ containerId: 'c' }));
const exit = TaskExit.create({ containerId: 'c', exitStatus: 3 });

const daemon = async (address: string, queue?: number) =>
  startTestKernel({
    plugins: ['events', 'events-service', 'server-grpc'],
    config: { 'server-grpc': { address }, ...(queue === undefined ? {} : { events: { queue } }) },
  });

test('events travel from publishers to subscribers of other namespaces', async () => {
  await using dir = await scratch('events');
  const address = join(dir.path, 's');
  await using kernel = await daemon(address);
  using client = connect({ address, namespace: 'a' });
  const stream = client.in('b').events.subscribe({});
  await stream.opened;
  await client.events.publish({ topic: '/tasks/start', event: start });
  const forwarded = {
    timestamp: toTimestamp(1_700_000_000_123_456_789n),
    namespace: 'elsewhere',
    topic: '/tasks/exit',
    event: { typeUrl: TaskExit.$type, value: Buffer.from(TaskExit.encode(exit).finish()) },
  };
  await client.events.forward({ envelope: forwarded });
  kernel.get(Events).publish('inside', '/tasks/start', start);
  const first = (await stream.next()).value;
  assert.deepEqual([first?.namespace, first?.topic, first?.event?.typeUrl], ['a', '/tasks/start', start.typeUrl]);
  assert.deepEqual((await stream.next()).value, forwarded);
  assert.equal((await stream.next()).value?.namespace, 'inside');
});

test('what is not an event is refused', async () => {
  await using dir = await scratch('events');
  const address = join(dir.path, 's');
  await using _ = await daemon(address);
  using client = connect({ address });
  const refusals = [
    [client.events.publish({ topic: '/t', event: start }), 'FAILED_PRECONDITION'],
    [client.in('a').events.publish({ topic: '/t' }), 'INVALID_ARGUMENT'],
    [client.in('a').events.publish({ topic: 't', event: start }), 'INVALID_ARGUMENT'],
    [client.events.forward({}), 'INVALID_ARGUMENT'],
    [client.events.forward({ envelope: { namespace: 'n', topic: '/t', event: start } }), 'INVALID_ARGUMENT'],
    [client.events.subscribe({ filters: ['topic=x'] }).next(), 'INVALID_ARGUMENT'],
  ] as const satisfies readonly (readonly [Promise<unknown>, ErrorCode])[];
  for (const [call, code] of refusals) await assert.rejects(call, (error) => hasCode(error, code));
});

test('a subscriber that does not read is ended, and its memory is bounded', async () => {
  await using dir = await scratch('events');
  const address = join(dir.path, 's');
  await using kernel = await daemon(address, 100);
  using client = connect({ address, namespace: 'n' });
  const stream = client.events.subscribe({});
  await stream.opened;
  const events = kernel.get(Events);
  const big = { typeUrl: 'x', value: new Uint8Array(64 * 1024) };
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 50; i++) events.publish('n', '/t', big);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const read = async () => {
    for await (const { topic } of stream) assert.equal(topic, '/t');
  };
  await assert.rejects(read(), (error) => hasCode(error, 'RESOURCE_EXHAUSTED'));
  await client.events.publish({ topic: '/t', event: start });
});

test('a million events beside a subscriber that never reads: it is ended, another gets every one (attack 63)', async () => {
  await using dir = await scratch('events');
  const address = join(dir.path, 's');
  await using kernel = await daemon(address, 1000);
  using client = connect({ address, namespace: 'n' });
  const deaf = client.events.subscribe({});
  await deaf.opened;
  const events = kernel.get(Events);
  const all = new AbortController();
  let seen = 0;
  const reading = (async () => {
    for await (const { namespace } of events.subscribe([], all.signal)) {
      assert.equal(namespace, 'n');
      seen += 1;
      if (seen === 1_000_000) all.abort();
    }
  })().catch((error: unknown) => assert.ok(all.signal.aborted, String(error)));
  const small = { typeUrl: 'x', value: new Uint8Array(8) };
  const before = process.memoryUsage().rss;
  for (let batch = 0; batch < 2000; batch++) {
    for (let i = 0; i < 500; i++) events.publish('n', '/t', small);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await reading;
  assert.equal(seen, 1_000_000);
  assert.ok(process.memoryUsage().rss - before < 200 * 2 ** 20, 'memory is bounded');
  await assert.rejects(
    (async () => {
      for await (const _ of deaf);
    })(),
    (error) => hasCode(error, 'RESOURCE_EXHAUSTED'),
  );
});

test('stock ctr prints events as they happen', async () => {
  await using dir = await scratch('events');
  const address = join(dir.path, 's');
  await using kernel = await daemon(address);
  const ctr = spawn('ctr', ['--address', address, 'events'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const lines = createInterface(ctr.stdout)[Symbol.asyncIterator]();
    const first = lines.next();
    const events = kernel.get(Events);
    // ctr does not say when it listens
    const again = setInterval(() => events.publish('other', '/tasks/start', start), 20);
    const line = String((await first).value);
    clearInterval(again);
    assert.match(line, /^\d{4}-\d\d-\d\d .* UTC other \/tasks\/start \{"container_id":"c"\}$/);
  } finally {
    ctr.kill();
    await once(ctr, 'close');
  }
});
