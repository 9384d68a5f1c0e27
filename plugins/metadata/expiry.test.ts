import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Clock, Expiries } from './expiry.js';

const HOUR = 3_600_000;
const DAYS = 48 * HOUR;

/** A machine's clocks: time passes on both, and the one on the wall may be set. */
class Clocks implements Clock {
  #wall = Date.UTC(2026, 0, 1);
  #monotonic = 5000;

  wall = (): bigint => BigInt(this.#wall) * 1_000_000n;
  monotonic = (): number => this.#monotonic;

  pass(millis: number): void {
    this.#wall += millis;
    this.#monotonic += millis;
  }

  set(millis: number): void {
    this.#wall += millis;
  }
}

const later = (clock: Clocks, millis: number): bigint => clock.wall() + BigInt(millis) * 1_000_000n;

describe('expiries', () => {
  for (const [title, step] of [
    ['two days forward', DAYS],
    ['two days back', -DAYS],
  ] as const) {
    it(`the clock is set ${title}: what was seen before ends neither early nor late`, () => {
      const clock = new Clocks();
      const expiries = new Expiries(clock);
      const [made, end] = [clock.wall(), later(clock, HOUR)];
      assert.equal(expiries.remaining('lease', end, made), HOUR);
      clock.pass(HOUR / 2);
      clock.set(step);
      assert.equal(expiries.remaining('lease', end, made), HOUR / 2);
      clock.pass(HOUR / 2);
      assert.ok(expiries.remaining('lease', end, made) <= 0);
    });
  }

  it('the clock is set back while no daemon runs: nothing lasts longer than it was to from its making', () => {
    const clock = new Clocks();
    const [made, end] = [clock.wall(), later(clock, HOUR)];
    clock.pass(HOUR / 2);
    clock.set(-DAYS);
    assert.equal(new Expiries(clock).remaining('lease', end, made), HOUR);
  });

  it('another expiry is another deadline; a forgotten one is fixed anew', () => {
    const clock = new Clocks();
    const expiries = new Expiries(clock);
    const made = clock.wall();
    assert.equal(expiries.remaining('image', later(clock, HOUR), made), HOUR);
    assert.equal(expiries.remaining('image', later(clock, 2 * HOUR), made), 2 * HOUR);
    expiries.forget('image');
    assert.equal(expiries.remaining('image', later(clock, HOUR), made), HOUR);
  });
});
