import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Limit } from './limit.js';

describe('limits', () => {
  it('keep the order and the number', async () => {
    const limit = new Limit(2);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    const work = (index: number) =>
      limit.run(async () => {
        order.push(index);
        most = Math.max(most, ++running);
        await delay(2);
        running--;
      });
    await Promise.all([0, 1, 2, 3, 4, 5].map(work));
    assert.equal(most, 2);
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
  });

  it('let those go who no longer want to wait', async () => {
    const limit = new Limit(1);
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = limit.run(() => promise);
    const controller = new AbortController();
    const second = limit.run(async () => 'ran', controller.signal);
    const third = limit.run(async () => 'ran');
    controller.abort(new Error('enough'));
    await assert.rejects(second, /enough/);
    resolve();
    await first;
    assert.equal(await third, 'ran');
    await assert.rejects(
      limit.run(async () => 'ran', controller.signal),
      /enough/,
    );
    assert.equal(await limit.run(async () => 'free again'), 'free again');
  });

  it('give away what nobody waits for, and only that', async () => {
    const limit = new Limit(2);
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = limit.run(() => promise);
    const giveBack = limit.takeIdle();
    assert.ok(giveBack);
    assert.equal(limit.takeIdle(), undefined);
    const waiting = limit.run(async () => 'ran');
    giveBack();
    assert.equal(limit.takeIdle(), undefined, 'who waited has it');
    assert.equal(await waiting, 'ran');
    resolve();
    await first;
    assert.ok(limit.takeIdle());
  });

  it('survive work that throws', async () => {
    const limit = new Limit(1);
    await assert.rejects(
      limit.run(async () => {
        throw new Error('x');
      }),
    );
    assert.equal(await limit.run(async () => 1), 1);
  });
});
