import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ControlGroup } from './group.js';
import { expectMove } from './moves.js';

const ROUNDS = 10;
/** Milliseconds after which nobody has moved anything for a while. */
const REST = 60;
/** Milliseconds of a wait that is over by then. */
const LEAD = 14;

const place = ControlGroup.of(process.pid)?.directory('pids');
const skip = process.getuid?.() !== 0 ? 'needs root' : place === undefined && 'needs control groups';

/** Milliseconds that a move takes, which leaves this process where it is. */
function move(): number {
  const began = performance.now();
  writeFileSync(join(place ?? '', 'cgroup.procs'), String(process.pid));
  return performance.now() - began;
}

/** The quickest of some moves, each some time after `before`. */
async function quickest(before: () => void, lead: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await delay(REST);
    before();
    await delay(lead);
    times.push(move());
  }
  return Math.min(...times);
}

test('a move that is expected does not wait, and nobody has been moved by the expectation', { skip }, async (t) => {
  const groups = (): string => readFileSync('/proc/self/cgroup', 'utf8');
  const before = groups();
  const unexpected = await quickest(() => undefined, LEAD);
  // Mounted with `favordynmods`, hierarchies have no such wait.
  if (unexpected < 2) return t.skip('moves never wait here');
  const expected = await quickest(expectMove, LEAD);
  assert.ok(expected < unexpected / 2, `${expected} ms instead of ${unexpected} ms`);
  assert.equal(groups(), before);
});
