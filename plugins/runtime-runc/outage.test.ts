/** Fault 52 of docs/reliability.md: exits while no daemon runs, for longer than anybody would go on trying to tell of them. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { scope, Workbench } from '../../test/conformance/runtime.workbench.js';
import { runcSubject } from '../../test/harness/runc.js';

/** Milliseconds that no daemon runs. */
const OUTAGE = Number(process.env.KEELSON_TEST_OUTAGE ?? 60_000);

const skip = (await runcSubject().unavailable()) ?? false;

it('52: exits during an outage are told once each by the next daemon, as they were', { skip }, async () => {
  await using bench = await Workbench.open(runcSubject());
  const early = await bench.run('exit 3');
  const within = await bench.run(`usleep ${OUTAGE * 500}; exit 4`);
  const killed = await bench.run('sleep 600');
  await killed.exec('e', `usleep ${OUTAGE * 250}; exit 5`);
  await killed.start('e');
  await bench.restart(async () => {
    await delay(OUTAGE);
    process.kill(killed.pid, 'SIGKILL');
  });
  const statuses = [await early.wait(), await within.wait(), await killed.wait(), await killed.wait('e')];
  assert.deepEqual(statuses, [3, 4, 137, 5]);
  const { exitedAt } = await bench.runtime.wait(scope, within.process());
  const { exitedAt: last } = await bench.runtime.wait(scope, killed.process());
  // Nanoseconds: told late, it happened when it did.
  assert.ok(last - exitedAt > BigInt(OUTAGE) * 400_000n, `${last - exitedAt} ns`);
  for (const task of [early, within, killed]) await task.delete();
  assert.deepEqual(await bench.topics(early.id, 4), ['create', 'start', 'exit', 'delete']);
  assert.deepEqual(await bench.topics(within.id, 4), ['create', 'start', 'exit', 'delete']);
  const exits = (id: string): unknown[] => bench.exits(id).map((exit) => [exit.id === id, exit.exitStatus]);
  assert.deepEqual(exits(killed.id).sort(), [
    [false, 5],
    [true, 137],
  ]);
});
