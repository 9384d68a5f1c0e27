/**
 * What every event bus keeps: the promises of kernel/contracts/events.ts.
 *
 *     eventsConformance({ describe, it }, subject)
 */
import assert from 'node:assert/strict';
import { hasCode } from '../../kernel/errors.js';
import { issueChecks } from './events.issues.js';
import {
  Bench,
  type Check,
  CREATED,
  ENDS,
  type EventsSubject,
  OTHER,
  rejects,
  Subscriber,
  topicsOf,
} from './events.workbench.js';
import { checkOf, type Runner } from './runner.js';

export type { EventBus, EventsSubject, OpenEvents } from './events.workbench.js';

const CHECKS: Readonly<Record<string, Check>> = {
  'hands an event to who subscribed, stamped with the time and the namespace': async (bench) => {
    const before = BigInt(Date.now()) * 1_000_000n;
    const subscriber = await bench.subscribe();
    await bench.publish('/containers/create');
    const [seen = []] = await bench.seen(subscriber);
    assert.equal(seen.length, 1);
    const [envelope] = seen;
    assert.ok(envelope);
    assert.deepEqual([envelope.namespace, envelope.topic], ['kit', '/containers/create']);
    assert.equal(envelope.event.typeUrl, CREATED.typeUrl);
    assert.deepEqual(Buffer.from(envelope.event.value), CREATED.value);
    assert.ok(envelope.timestamp >= before && envelope.timestamp <= BigInt(Date.now() + 1000) * 1_000_000n);
  },

  'hands every event to every subscriber, in the order of publication': async (bench) => {
    const subscribers = await Promise.all([bench.subscribe(), bench.subscribe(), bench.subscribe()]);
    const topics = Array.from({ length: 200 }, (_, index) => `/t/n${index}`);
    for (const topic of topics) await bench.publish(topic, OTHER);
    for (const seen of await bench.seen(...subscribers)) assert.deepEqual(topicsOf(seen), topics);
  },

  'remembers nothing: who comes later sees what is published later': async (bench) => {
    await bench.publish('/t/early');
    const subscriber = await bench.subscribe();
    await bench.publish('/t/late');
    assert.deepEqual(await bench.topics(subscriber), ['/t/late']);
  },

  'keeps what is published before the subscriber reads': async (bench) => {
    const subscriber = await bench.subscribe();
    for (const topic of ['/t/a', '/t/b', '/t/c']) await bench.publish(topic);
    assert.deepEqual(await bench.topics(subscriber), ['/t/a', '/t/b', '/t/c']);
  },

  'forwards an event as it is': async (bench) => {
    const subscriber = await bench.subscribe();
    const envelope = {
      timestamp: 1_234_567_890_123_456_789n,
      namespace: 'elsewhere',
      topic: '/tasks/exit',
      event: OTHER,
    };
    await bench.publish('/t/before');
    await bench.bus.forward(envelope);
    await bench.publish('/t/after');
    const [seen = []] = await bench.seen(subscriber);
    assert.deepEqual(topicsOf(seen), ['/t/before', '/tasks/exit', '/t/after']);
    const forwarded = seen[1];
    const event = { ...forwarded?.event, value: Buffer.from(forwarded?.event.value ?? []) };
    assert.deepEqual({ ...forwarded, event }, envelope);
  },

  'is not limited to a namespace': async (bench) => {
    const subscriber = await bench.subscribe();
    await bench.publish('/t/a', CREATED, 'one');
    await bench.publish('/t/b', CREATED, 'two');
    const [seen = []] = await bench.seen(subscriber);
    assert.deepEqual(
      seen.map(({ namespace }) => namespace),
      ['one', 'two'],
    );
  },

  'filters by namespace, topic and field of the event; any filter may match': async (bench) => {
    const byNamespace = await bench.subscribe('namespace==two', ENDS);
    const byTopic = await bench.subscribe('topic=="/t/b"', 'topic~=|^/other/|', ENDS);
    const byField = await bench.subscribe('event.id==one', `${ENDS},namespace==kit`);
    const byBoth = await bench.subscribe('namespace==two,topic=="/t/b"', ENDS);
    await bench.publish('/t/a', CREATED, 'one');
    await bench.publish('/t/b', OTHER, 'one');
    await bench.publish('/other/c', OTHER, 'two');
    await bench.publish('/t/b', CREATED, 'two');
    const [ofNamespace, ofTopic, ofField, ofBoth = []] = await bench.seen(byNamespace, byTopic, byField, byBoth);
    assert.deepEqual(topicsOf(ofNamespace), ['/other/c', '/t/b']);
    assert.deepEqual(topicsOf(ofTopic), ['/t/b', '/other/c', '/t/b']);
    assert.deepEqual(topicsOf(ofField), ['/t/a', '/t/b']);
    assert.deepEqual(
      ofBoth.map(({ namespace, topic }) => `${namespace} ${topic}`),
      ['two /t/b'],
    );
  },

  'refuses a filter that is none': async (bench, { explainFilters }) => {
    const subscribe = async (): Promise<unknown> => bench.topics(await bench.subscribe('topic='));
    if (explainFilters) await rejects('INVALID_ARGUMENT', subscribe);
    else await assert.rejects(subscribe);
  },

  'refuses a topic that does not begin with a slash': async (bench) => {
    for (const topic of ['', 'tasks/exit']) await rejects('INVALID_ARGUMENT', () => bench.publish(topic));
    const envelope = { timestamp: 1n, namespace: 'kit', topic: 'no/slash', event: OTHER };
    await rejects('INVALID_ARGUMENT', async () => bench.bus.forward(envelope));
  },

  'refuses other malformed topics and namespaces, where it says so': async (bench, can) => {
    if (!can.checkNames) return;
    for (const topic of ['/', '/a//b', '/a b', '/tasks/'])
      await rejects('INVALID_ARGUMENT', () => bench.publish(topic));
    for (const namespace of ['../up', 'a b', 'x'.repeat(77)])
      await rejects('INVALID_ARGUMENT', () => bench.publish('/t/a', CREATED, namespace));
  },

  'an event that was refused reaches nobody': async (bench) => {
    const subscriber = await bench.subscribe();
    await rejects('INVALID_ARGUMENT', () => bench.publish('no/slash'));
    await bench.publish('/t/good');
    assert.deepEqual(await bench.topics(subscriber), ['/t/good']);
  },

  'who leaves or is ended gets no more, and others go on': async (bench, { leaveQuietly }) => {
    const [leaving, ended, staying] = await Promise.all([bench.subscribe(), bench.subscribe(), bench.subscribe()]);
    await bench.publish('/t/a');
    assert.deepEqual(await leaving.topics(1), ['/t/a']);
    assert.deepEqual(await ended.topics(1), ['/t/a']);
    await leaving.leave();
    ended.end.abort();
    await bench.publish('/t/b');
    const last = await ended.next().catch((error: unknown) => {
      assert.ok(hasCode(error, 'CANCELED'), `${error}`);
      return { done: true };
    });
    assert.equal(last.done, true);
    assert.equal((await leaving.next()).done, true);
    const topics = await bench.topics(staying);
    assert.deepEqual(leaveQuietly ? topics : [...new Set(topics)], ['/t/a', '/t/b']);
  },

  'a subscription that is over when it begins gets nothing': async (bench) => {
    const over = new AbortController();
    over.abort();
    const begin = async (): Promise<unknown> => {
      const subscriber = new Subscriber(await bench.bus.subscribe([], over.signal), over);
      await bench.publish('/t/a');
      return (await subscriber.next()).done;
    };
    const ended = await begin().catch((error: unknown) => hasCode(error, 'CANCELED'));
    assert.equal(ended, true);
  },

  'a subscriber that never reads holds up nobody': async (bench, { dropSlowSubscribers: limit }) => {
    const count = limit === false ? 2000 : limit + 1;
    const slow = await bench.subscribe();
    const quick = await bench.subscribe('topic=="/t/last"');
    const batch = 500;
    for (let sent = 0; sent < count; sent += batch)
      await Promise.all(Array.from({ length: batch }, (_, index) => bench.publish(`/t/n${sent + index}`, OTHER)));
    await bench.publish('/t/last', OTHER);
    assert.deepEqual(await quick.topics(1), ['/t/last']);
    if (limit === false) assert.equal((await slow.topics(count)).length, count);
    else await rejects('RESOURCE_EXHAUSTED', () => slow.until('/t/last'));
  },

  'lets many subscribers come and go while events flow': async (bench, { leaveQuietly }) => {
    const publishing = (async () => {
      for (let index = 0; index < 200; index += 1) await bench.publish(`/t/n${index}`);
    })();
    for (let round = 0; round < 20; round += 1) {
      const subscriber = await bench.subscribe();
      subscriber.end.abort();
    }
    await publishing;
    const subscriber = await bench.subscribe();
    await bench.publish('/t/after');
    const topics = await bench.topics(subscriber);
    assert.deepEqual(leaveQuietly ? topics : [...new Set(topics)], ['/t/after']);
  },
};

export function eventsConformance(runner: Runner, subject: EventsSubject): void {
  runner.describe(`events ${subject.name}`, () => {
    for (const [title, check] of Object.entries({ ...CHECKS, ...issueChecks })) {
      checkOf(runner, subject, title, async () => {
        const opened = await subject.open();
        const bench = new Bench(opened.bus);
        try {
          await check(bench, subject.can);
        } finally {
          bench.close();
          await opened.close();
        }
      });
    }
  });
}
