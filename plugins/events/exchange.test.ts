import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerCreate } from '../../api/gen/events/container.js';
import { ImageUpdate } from '../../api/gen/events/image.js';
import { TaskCreate, TaskExit, TaskStart } from '../../api/gen/events/task.js';
import type { Envelope } from '../../kernel/contracts/events.js';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { packAny } from '../../lib/rpc/any.js';
import { now, ZERO_TIME } from '../../lib/rpc/timestamp.js';
import { Exchange } from './exchange.js';

const start = (containerId: string) => packAny(TaskStart, TaskStart.create({ containerId, pid: 1 }));
const code = (expected: ErrorCode) => (error: unknown) => hasCode(error, expected);

/** Reads until `count` events have come. */
async function take(stream: AsyncIterable<Envelope>, count: number): Promise<Envelope[]> {
  const taken: Envelope[] = [];
  for await (const envelope of stream) {
    taken.push(envelope);
    if (taken.length === count) break;
  }
  return taken;
}

const topics = (envelopes: readonly Envelope[]): string[] => envelopes.map(({ topic }) => topic);
const never = new AbortController().signal;

test('every subscriber gets every event, in order, stamped with time and namespace', async () => {
  const exchange = new Exchange(1000);
  const one = exchange.subscribe([], never);
  const two = exchange.subscribe([], never);
  const before = now();
  for (let i = 0; i < 500; i++) exchange.publish(i % 2 ? 'odd' : 'even', `/t/${i}`, start(String(i)));
  const [first, second] = await Promise.all([take(one, 500), take(two, 500)]);
  assert.deepEqual(
    topics(first),
    Array.from({ length: 500 }, (_, i) => `/t/${i}`),
  );
  assert.deepEqual(second, first);
  assert.equal(first[1]?.namespace, 'odd');
  assert.ok(first.every(({ timestamp }) => timestamp >= before));
});

test('a subscriber sees nothing from before its subscription, and reading may begin before the event', async () => {
  const exchange = new Exchange(10);
  exchange.publish('n', '/early', start('a'));
  const stream = exchange.subscribe([], never);
  const pending = take(stream, 2);
  exchange.publish('n', '/late', start('a'));
  exchange.publish('n', '/later', start('a'));
  assert.deepEqual(topics(await pending), ['/late', '/later']);
});

test('a subscriber that falls behind is ended, others are not', async () => {
  const exchange = new Exchange(100);
  const slow = exchange.subscribe([], never);
  const fast = exchange.subscribe([], never);
  const reading = take(fast, 250);
  for (let i = 0; i < 250; i++) {
    exchange.publish('n', `/t/${i}`, start('a'));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal((await reading).length, 250);
  await assert.rejects(take(slow, 1), code('RESOURCE_EXHAUSTED'));
});

test('a subscription ends with its signal, after what waits has been read', async () => {
  const exchange = new Exchange(10);
  const controller = new AbortController();
  const stream = exchange.subscribe([], controller.signal);
  exchange.publish('n', '/a', start('a'));
  controller.abort();
  exchange.publish('n', '/b', start('a'));
  assert.deepEqual(topics(await take(stream, 9)), ['/a']);
  assert.deepEqual(await take(exchange.subscribe([], controller.signal), 1), []);

  const other = new AbortController();
  const pending = take(exchange.subscribe([], other.signal), 1);
  other.abort();
  assert.deepEqual(await pending, []);
});

test('filters select by namespace, topic and fields of the event', async () => {
  const exchange = new Exchange(100);
  const labels = { 'a.b/c': 'd' };
  const image = ImageUpdate.create({ name: 'docker.io/library/redis:alpine', labels });
  const created = TaskCreate.create({ containerId: 'web', pid: 5, io: { stdout: '/out', terminal: true } });
  const container = ContainerCreate.create({ id: 'web', image: 'redis', runtime: { name: 'io.containerd.runc.v2' } });
  const exit = TaskExit.create({ containerId: 'web', id: 'exec1', exitStatus: 3 });
  const expectations: Readonly<Record<string, readonly string[]>> = {
    'namespace==moby,topic~=|^/tasks/|': ['/tasks/start'],
    'topic=="/tasks/exit"': ['/tasks/exit'],
    'event.container_id==web': ['/tasks/create', '/tasks/exit'],
    'event.id==exec1': ['/tasks/exit'],
    'event.exit_status==3': [],
    'event.io.stdout=="/out"': ['/tasks/create'],
    'event.io.terminal==true': ['/tasks/create'],
    'event.runtime.name~=runc': ['/containers/create'],
    'event.labels."a.b/c"==d': ['/images/update'],
    'event.name~=/redis/': ['/images/update'],
    'event.constructor': [],
    timestamp: [],
    'namespace!=n': ['/tasks/start'],
  };
  const published = new AbortController();
  const subscribe = (...filters: string[]) => exchange.subscribe(filters, published.signal);
  const streams = Object.keys(expectations).map((filter) => subscribe(filter));
  const either = subscribe('topic=="/tasks/exit"', 'namespace==moby');
  exchange.publish('moby', '/tasks/start', start('x'));
  exchange.publish('n', '/tasks/create', packAny(TaskCreate, created));
  exchange.publish('n', '/containers/create', packAny(ContainerCreate, container));
  exchange.publish('n', '/tasks/exit', packAny(TaskExit, exit));
  exchange.publish('n', '/images/update', packAny(ImageUpdate, image));
  exchange.publish('n', '/unknown', { typeUrl: 'some.Thing', value: Uint8Array.of(1) });
  exchange.publish('n', '/broken', { typeUrl: 'containerd.events.TaskStart', value: Uint8Array.of(0) });
  published.abort();
  for (const [index, [filter, expected]] of Object.entries(expectations).entries()) {
    const stream = streams[index];
    assert.ok(stream);
    assert.deepEqual(topics(await take(stream, 99)), expected, filter);
  }
  assert.deepEqual(topics(await take(either, 99)), ['/tasks/start', '/tasks/exit']);
  assert.throws(() => exchange.subscribe(['topic=x'], never), code('INVALID_ARGUMENT'));
});

test('a malformed topic, namespace or envelope is refused', () => {
  const exchange = new Exchange(10);
  for (const topic of ['', 'tasks', '/', '/tasks/', '//x', '/a b', '/..', '/é']) {
    assert.throws(() => exchange.publish('n', topic, start('a')), code('INVALID_ARGUMENT'), topic);
  }
  assert.throws(() => exchange.publish('', '/t', start('a')), code('INVALID_ARGUMENT'));
  assert.throws(
    () => exchange.forward({ timestamp: ZERO_TIME, namespace: 'n', topic: '/t', event: start('a') }),
    code('INVALID_ARGUMENT'),
  );
});
