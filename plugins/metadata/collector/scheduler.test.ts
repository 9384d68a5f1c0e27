/** When collections run, on a clock that the test alone moves. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { coded } from '../../../test/harness/metadata.js';
import type { CollectionResult } from './collector.js';
import { type Pacing, Scheduler } from './scheduler.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** containerd's defaults. */
const DEFAULTS: Pacing = {
  pauseThreshold: 0.02,
  deletionThreshold: 0,
  mutationThreshold: 100,
  scheduleDelay: 0,
  startupDelay: 100,
};

const RESULT: CollectionResult = {
  duration: 1,
  longestPause: 1,
  busy: 1,
  contentRemoved: 0,
  snapshotsRemoved: 0,
  nextExpiry: Number.POSITIVE_INFINITY,
};

describe('collections', () => {
  let now = 0;
  let scheduler: Scheduler;
  /** When each began. */
  let began: number[];

  beforeEach(() => {
    now = 0;
    began = [];
    mock.timers.enable({ apis: ['setTimeout'] });
    mock.method(performance, 'now', () => now);
  });
  afterEach(async () => {
    await scheduler.stop();
    mock.timers.reset();
    mock.restoreAll();
  });

  /** Starts, past the first collection unless `pacing` has another delay before that. */
  async function start(
    pacing: Partial<Pacing> = {},
    run: () => Promise<Partial<CollectionResult>> = async () => ({}),
  ): Promise<void> {
    const runner = {
      run: async () => {
        began.push(now);
        return { ...RESULT, ...(await run()) };
      },
    };
    scheduler = new Scheduler(runner, { ...DEFAULTS, ...pacing }, pino({ level: 'silent' }));
    if (pacing.startupDelay !== undefined) return;
    await advance(10 * SECOND);
    assert.deepEqual(began, [100]);
    began = [];
  }

  /** Time passes in steps, so that what one timer causes comes at its own time. */
  async function advance(milliseconds: number): Promise<void> {
    const end = now + milliseconds;
    const step = Math.max(10, milliseconds / 1000);
    while (now < end) {
      await turn();
      const by = Math.min(step, end - now);
      now += by;
      mock.timers.tick(by);
      await turn();
    }
  }

  const times = (count: number, what: () => void): void => {
    for (let i = 0; i < count; i++) what();
  };

  it('begin some time after the start, without any cause', async () => {
    await start({ startupDelay: 5 * SECOND });
    await advance(4.9 * SECOND);
    assert.deepEqual(began, []);
    await advance(0.1 * SECOND);
    assert.equal(began.length, 1);
    await advance(DAY);
    assert.equal(began.length, 1, 'and an idle daemon needs no further ones');
  });

  it('follow a number of removals at once, fewer of them a minute later', async () => {
    await start({ deletionThreshold: 3 });
    times(2, () => scheduler.removed());
    await advance(59 * SECOND);
    assert.deepEqual(began, []);
    scheduler.removed();
    await advance(10);
    assert.equal(began.length, 1);
    scheduler.removed();
    await advance(59 * SECOND);
    assert.equal(began.length, 1);
    await advance(2 * SECOND);
    assert.equal(began.length, 2);
  });

  it('are not hurried by removals when their number does not count', async () => {
    await start();
    times(1000, () => scheduler.removed());
    await advance(59 * SECOND);
    assert.deepEqual(began, []);
    await advance(2 * SECOND);
    assert.equal(began.length, 1);
  });

  it('follow a number of changes, which count anew afterwards', async () => {
    await start({ mutationThreshold: 10 });
    times(9, () => scheduler.mutated());
    await advance(DAY);
    assert.deepEqual(began, []);
    scheduler.mutated();
    await advance(10);
    assert.equal(began.length, 1);
    times(9, () => scheduler.mutated());
    await advance(DAY);
    assert.equal(began.length, 1);
  });

  it('do not follow changes when these do not count', async () => {
    await start({ mutationThreshold: 0 });
    times(10_000, () => scheduler.mutated());
    await advance(DAY);
    assert.deepEqual(began, []);
  });

  it('wait as long as they are scheduled behind their cause', async () => {
    await start({ mutationThreshold: 1, deletionThreshold: 1, scheduleDelay: 3 * SECOND });
    for (const cause of [
      () => scheduler.mutated(),
      () => scheduler.removed(),
      () => void scheduler.collect().catch(() => {}),
    ]) {
      began = [];
      const from = now;
      cause();
      await advance(2.9 * SECOND);
      assert.deepEqual(began, []);
      await advance(0.1 * SECOND);
      assert.deepEqual(began, [from + 3 * SECOND]);
      await advance(10 * MINUTE);
    }
  });

  it('come when something expires', async () => {
    await start();
    scheduler.expiresIn(5 * MINUTE);
    scheduler.expiresIn(HOUR);
    await advance(4.9 * MINUTE);
    assert.deepEqual(began, []);
    await advance(0.2 * MINUTE);
    assert.equal(began.length, 1);
  });

  it('come when something expires that is further away than a timer can wait', async () => {
    const due = 100 * DAY;
    await start({}, async () => ({ nextExpiry: now < due ? due - now : Number.POSITIVE_INFINITY }));
    await advance(due - now - HOUR);
    assert.ok(began.length <= 5, 'a few on the way, since no timer is longer than 24 days');
    began = [];
    await advance(2 * HOUR);
    assert.equal(began.length, 1);
    assert.ok((began[0] ?? 0) >= due);
  });

  it('come when the next thing expires that the last one saw', async () => {
    const expiries = [HOUR, 2 * HOUR];
    await start({}, async () => ({ nextExpiry: expiries.shift() ?? Number.POSITIVE_INFINITY }));
    await advance(59 * MINUTE);
    assert.equal(began.length, 0);
    await advance(2 * MINUTE);
    assert.equal(began.length, 1);
    await advance(2 * HOUR);
    assert.equal(began.length, 2);
    await advance(DAY);
    assert.equal(began.length, 2);
  });

  it('take no more than their share of time, unless somebody asks', async () => {
    await start({ mutationThreshold: 1, pauseThreshold: 0.1, startupDelay: 0 }, async () => ({ busy: 1000 }));
    await advance(10);
    assert.equal(began.length, 1);
    const from = now;
    scheduler.mutated();
    await advance(8.9 * SECOND);
    assert.equal(began.length, 1);
    await advance(0.2 * SECOND);
    assert.equal(began.length, 2, 'nine seconds after one of a second');
    assert.ok(now - from < 9.2 * SECOND);
    const asked = scheduler.collect();
    await advance(10);
    assert.equal(began.length, 3);
    await asked;
  });

  it('run one at a time; one that is asked for begins after it was asked for', async () => {
    const first = Promise.withResolvers<void>();
    let running = 0;
    await start({ startupDelay: 0 }, async () => {
      running += 1;
      assert.equal(running, 1);
      if (began.length === 1) await first.promise;
      running -= 1;
      return { contentRemoved: began.length };
    });
    await advance(10);
    const asked = [scheduler.collect(), scheduler.collect()];
    await advance(SECOND);
    assert.equal(began.length, 1);
    first.resolve();
    await advance(10);
    assert.deepEqual(
      (await Promise.all(asked)).map(({ contentRemoved }) => contentRemoved),
      [2, 2],
    );
  });

  it('that fail tell who asked, and the next cause brings another', async () => {
    let fails = true;
    await start({ startupDelay: HOUR, mutationThreshold: 1 }, async () => {
      if (fails) throw new Error('no disk');
      return {};
    });
    const asked = assert.rejects(scheduler.collect(), /no disk/);
    await advance(10);
    await asked;
    fails = false;
    scheduler.mutated();
    await advance(HOUR);
    assert.ok(began.length >= 2);
    const again = scheduler.collect();
    await advance(10);
    await again;
  });

  it('end with the daemon: none begins, who waits is told', async () => {
    await start({ scheduleDelay: MINUTE });
    const asked = assert.rejects(scheduler.collect(), coded('UNAVAILABLE'));
    await scheduler.stop();
    await asked;
    scheduler.expiresIn(SECOND);
    times(1000, () => scheduler.mutated());
    await advance(HOUR);
    assert.deepEqual(began, []);
    await assert.rejects(scheduler.collect(), coded('UNAVAILABLE'));
  });
});
