/**
 * Five hundred containers at once: started, listed, an exec in each, the daemon
 * killed and started again, then daemon and supervisor both, all stopped; what
 * is left over is looked for when the daemon is disposed of.
 * `KEELSON_MANY_TASKS=N` changes the number.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { type Process, TaskStatus } from '../../client/index.js';
import { Limit } from '../../lib/limit.js';
import { processOf, specOf } from '../conformance/container.js';
import { supervisorsBelow } from '../harness/runc.js';
import { IDLE, World } from './tasks-world.js';

const COUNT = Number(process.env.KEELSON_MANY_TASKS ?? 500);
/** Clients that start and stop containers side by side. */
const CLIENTS = 8;
/** Milliseconds from the start of a daemon until all tasks are listed as running: fault 41 of docs/reliability.md. */
const READOPTION = COUNT > 500 ? 15_000 : 10_000;

const SIGTERM = 15;

const script = (exitStatus: number): string =>
  `trap "exit ${exitStatus}" TERM; exec 3<>${IDLE}; while :; do read -t 60 x <&3; done`;

const ids = Array.from({ length: COUNT }, (_, n) => `many${n}`);
const statusOf = (n: number): number => n % 100;

class Many {
  readonly #world: World;
  readonly #test: TestContext;

  constructor(world: World, test: TestContext) {
    this.#world = world;
    this.#test = test;
  }

  /** Does the work for all, and says how long it took. */
  async each(what: string, clients: number, work: (id: string, n: number) => Promise<void>): Promise<void> {
    const limit = new Limit(clients);
    await this.timed(`${what} ${COUNT}, ${clients} at a time`, () =>
      Promise.all(ids.map((id, n) => limit.run(() => work(id, n)))),
    );
  }

  async timed(what: string, work: () => Promise<unknown>): Promise<number> {
    const begun = performance.now();
    await work();
    const millis = performance.now() - begun;
    this.#test.diagnostic(`${what}: ${(millis / 1000).toFixed(1)} s`);
    return millis;
  }

  async start(id: string, n: number): Promise<void> {
    const { client, namespace, rootfs } = this.#world;
    const container = {
      id,
      runtime: { name: 'io.containerd.runc.v2' },
      spec: specOf(namespace, id, script(statusOf(n))),
    };
    await client.containers.create({ container });
    await client.tasks.create({ containerId: id, rootfs: [{ ...rootfs, options: [...rootfs.options] }] });
    await client.tasks.start({ containerId: id });
  }

  async exec(id: string, n: number): Promise<void> {
    const { tasks } = this.#world.client;
    await tasks.exec({ containerId: id, execId: 'e', spec: processOf(`exit ${statusOf(n)}`) });
    await tasks.start({ containerId: id, execId: 'e' });
    assert.equal((await tasks.wait({ containerId: id, execId: 'e' })).exitStatus, statusOf(n), id);
    await tasks.deleteProcess({ containerId: id, execId: 'e' });
  }

  async stop(id: string, n: number): Promise<void> {
    const { tasks, containers } = this.#world.client;
    await tasks.kill({ containerId: id, signal: SIGTERM });
    assert.equal((await tasks.wait({ containerId: id })).exitStatus, statusOf(n), id);
    assert.equal((await tasks.delete({ containerId: id })).exitStatus, statusOf(n), id);
    await containers.delete({ id });
  }

  async pids(): Promise<ReadonlyMap<string, number>> {
    const { tasks } = await this.#world.client.tasks.list({});
    const running = tasks.filter(({ status }: Process) => status === TaskStatus.RUNNING);
    return new Map(running.map(({ id, pid }) => [id, pid]));
  }
}

describe(`${COUNT} containers at once`, () => {
  it('are started, listed, entered, found again, stopped', async (test) => {
    await using world = await World.open('many');
    const many = new Many(world, test);
    await many.each('start', CLIENTS, (id, n) => many.start(id, n));
    const before = await many.pids();
    assert.deepEqual([...before.keys()].sort(), [...ids].sort());
    assert.equal((await supervisorsBelow(world.daemon.directory)).length, 1);
    await many.each('exec in', 1, (id, n) => many.exec(id, n));

    const strike = { apart: 0, daemonFirst: true, down: 0 } as const;
    for (const victim of ['daemon', 'both'] as const) {
      await world.kill({ ...strike, victim });
      const millis = await many.timed(`${victim} killed: found again`, async () => {
        await world.startAgain();
        assert.deepEqual(await many.pids(), before);
      });
      assert.ok(millis < READOPTION, `${victim} killed: ${millis} ms until all were found again`);
    }
    assert.equal((await supervisorsBelow(world.daemon.directory)).length, 1);
    await many.each('stop', CLIENTS, (id, n) => many.stop(id, n));
    assert.deepEqual(await many.pids(), new Map());
  });
});
