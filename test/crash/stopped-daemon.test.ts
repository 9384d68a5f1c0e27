/** SIGTERM while tasks are being created: the daemon ends soon, and what it was at is whole or absent. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TaskStatus } from '../../client/index.js';
import { hasCode } from '../../kernel/errors.js';
import { specOf } from '../conformance/container.js';
import { eventually } from '../harness/eventually.js';
import { World } from './tasks-world.js';

const COUNT = 20;
/** Milliseconds. */
const END = 5000;
const SIGKILL = 9;

describe(`a daemon that is stopped during ${COUNT} creates`, () => {
  it('ends in time; each task is there and usable, or absent', async () => {
    await using world = await World.open('stopped');
    const ids = Array.from({ length: COUNT }, (_, n) => `stopped${n}`);
    const mount = { ...world.rootfs, options: [...world.rootfs.options] };
    for (const id of ids) {
      const spec = specOf(world.namespace, id, 'exec sleep 600');
      await world.client.containers.create({ container: { id, runtime: { name: 'io.containerd.runc.v2' }, spec } });
    }
    const creating = ids.map((id) => world.client.tasks.create({ containerId: id, rootfs: [mount] }));
    const settled = Promise.allSettled(creating);
    await eventually('some are made', async () => {
      const { tasks } = await world.client.tasks.list({});
      return tasks.length >= 2 ? true : undefined;
    });
    const begun = performance.now();
    await world.stop();
    assert.ok(performance.now() - begun < END, `the daemon took ${performance.now() - begun} ms to end`);
    const answers = await settled;
    await world.startAgain();
    for (const [n, id] of ids.entries()) {
      const { tasks } = world.client;
      const status = await tasks.get({ containerId: id }).then(
        ({ process }) => process?.status,
        (error: unknown) => {
          assert.ok(hasCode(error, 'NOT_FOUND'), String(error));
          return undefined;
        },
      );
      if (answers[n]?.status === 'fulfilled') assert.equal(status, TaskStatus.CREATED, id);
      if (status === undefined) await tasks.create({ containerId: id, rootfs: [mount] });
      await tasks.start({ containerId: id });
      await tasks.kill({ containerId: id, signal: SIGKILL });
      assert.equal((await tasks.wait({ containerId: id })).exitStatus, 128 + SIGKILL, id);
      await tasks.delete({ containerId: id });
      await world.client.containers.delete({ id });
    }
  });
});
