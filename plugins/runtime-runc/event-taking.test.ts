import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { TaskStart } from '../../api/gen/events/task.js';
import { SupervisorDefinition } from '../../api/gen/runtime/supervisor.js';
import { TtrpcClient } from '../../lib/ttrpc/client.js';
import { createTtrpcServer } from '../../lib/ttrpc/server.js';
import { scratch } from '../../test/harness/scratch.js';
import { EventTaking } from './event-taking.js';
import { controlService } from './supervisor/control.js';
import { Supervisor } from './supervisor/supervisor.js';

const SETTINGS = {
  namespace: 'n',
  group: 'n',
  bundles: '/',
  binary: 'runc',
  runtimeRoot: '/',
  systemdCgroup: false,
  deadline: 1000,
};

/** What Node sends of a stream of messages in one turn of the event loop. */
const SENT_IN_A_TURN = 16;

async function withEvents(count: number, work: (client: TtrpcClient, supervisor: Supervisor) => Promise<void>) {
  await using directory = await scratch('events');
  const supervisor = new Supervisor(SETTINGS);
  for (let pid = 1; pid <= count; pid++)
    supervisor.events.publish('/tasks/start', TaskStart, { containerId: 'c', pid });
  const server = createTtrpcServer([controlService(supervisor)], (error) => assert.fail(String(error)));
  server.server.listen(join(directory.path, 's'));
  await once(server.server, 'listening');
  const client = await TtrpcClient.connect(join(directory.path, 's'));
  try {
    await work(client, supervisor);
  } finally {
    client.close();
    await server.close();
  }
}

it('many events at once are handed over no faster than they are sent, and confirmed after that', () =>
  withEvents(100, async (client, supervisor) => {
    const perTurn: number[] = [0];
    const { instance } = await client.stub(SupervisorDefinition).describe({});
    const taking = new EventTaking(client, instance, () => {
      assert.equal(supervisor.events.undelivered, 100n, 'none is confirmed before all are handed over');
      perTurn.push((perTurn.pop() ?? 0) + 1);
    });
    const running = assert.rejects(taking.run(), { code: 'UNAVAILABLE' });
    let drained = false;
    const done = taking.drained().finally(() => {
      drained = true;
    });
    while (!drained) {
      perTurn.push(0);
      await turn();
    }
    await done;
    assert.equal(
      perTurn.reduce((sum, count) => sum + count, 0),
      100,
    );
    assert.ok(Math.max(...perTurn) <= SENT_IN_A_TURN, `${perTurn} in a turn`);
    assert.equal(await taking.allTold(), true);
    client.close();
    await running;
  }));

it('one that is stopped confirms what it handed over, and hands over no more', () =>
  withEvents(100, async (client, supervisor) => {
    const taken: bigint[] = [];
    const { instance } = await client.stub(SupervisorDefinition).describe({});
    const first = Promise.withResolvers<void>();
    const taking = new EventTaking(client, instance, ({ sequence }) => {
      taken.push(sequence);
      first.resolve();
    });
    const running = taking.run();
    await first.promise;
    await taking.stop();
    await running;
    assert.ok(taken.length < 100);
    assert.equal(await taking.allTold(), false);
    const [next] = await supervisor.events.next(new AbortController().signal);
    assert.equal(next?.sequence, (taken.at(-1) ?? 0n) + 1n);
  }));
