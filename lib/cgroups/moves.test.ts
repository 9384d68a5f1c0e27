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

/** How long some moves take, each some time after `before`; the quickest first. */
async function moves(before: () => void): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await delay(REST);
    before();
    await delay(LEAD);
    times.push(move());
  }
  return times.sort((a, b) => a - b);
}

test('a move that is expected does not wait, and nobody has been moved by the expectation', { skip }, async (t) => {
  const groups = (): string => readFileSync('/proc/self/cgroup', 'utf8');
  const before = groups();
  const unexpected = (await moves(() => undefined))[ROUNDS / 2] ?? 0;
  // As with hierarchies that are mounted with `favordynmods`, and where somebody else moves processes all the time.
  if (unexpected < 2) return t.skip('moves do not wait here');
  const expected = (await moves(expectMove))[0] ?? unexpected;
  assert.ok(expected < unexpected / 2, `${expected} ms instead of ${unexpected} ms`);
  assert.equal(groups(), before);
});
