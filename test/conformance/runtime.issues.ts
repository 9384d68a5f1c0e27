/** One check for each bug that runtimes had before, with its link. */
import assert from 'node:assert/strict';
import { Reader } from './container.js';
import type { Checks } from './runtime.js';
import { inTime, rejects, scope } from './runtime.workbench.js';

export const issueChecks: Checks = {
  'https://github.com/containerd/containerd/pull/9828: an exit is told after the start, however soon it comes': async (
    bench,
  ) => {
    const tasks = await Promise.all(Array.from({ length: 5 }, () => bench.run('true')));
    for (const task of tasks) {
      assert.equal(await task.wait(), 0);
      await task.delete();
      assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
    }
  },

  'https://github.com/kata-containers/kata-containers/issues/716: an exec that ends at once has been started': async (
    bench,
  ) => {
    const task = await bench.run('sleep 60');
    for (const id of ['e1', 'e2', 'e3', 'e4', 'e5']) {
      await task.exec(id, 'true');
      await task.start(id);
      assert.equal(await task.wait(id), 0);
      assert.equal(await task.delete(id), 0);
    }
    await task.end();
  },

  'https://github.com/containerd/containerd/pull/10634: an exec is not started once the task has ended': async (
    bench,
  ) => {
    const task = await bench.run('sleep 60');
    await task.exec('late', 'sleep 60');
    await task.kill(9);
    await task.wait();
    await assert.rejects(task.start('late'));
    await task.delete('late');
    await task.delete();
    assert.deepEqual(
      bench.exits(task.id).map(({ id }) => id),
      [task.id],
    );
  },

  'https://github.com/containerd/containerd/issues/999: to kill what has ended is NOT_FOUND, also an exec': async (
    bench,
  ) => {
    const task = await bench.run('sleep 60');
    await task.exec('e', 'exit 3');
    await task.start('e');
    assert.equal(await task.wait('e'), 3);
    await rejects('NOT_FOUND', task.kill(9, 'e'));
    await task.delete('e');
    await task.kill(9);
    await task.wait();
    await rejects('NOT_FOUND', task.kill(9));
    await task.delete();
  },

  'https://github.com/containerd/containerd/pull/2624: an exec whose child keeps its output open holds up no other':
    async (bench) => {
      const task = await bench.run('sleep 60');
      const fifos = await bench.fifos();
      const readers = [new Reader(fifos.stdout), new Reader(fifos.stderr)];
      await task.exec('parent', 'sleep 60 & echo ok', fifos.output);
      await task.start('parent');
      assert.equal(await task.wait('parent'), 0);
      // How long it waits for the child, and whether it says so, is its own matter.
      const deleting = Promise.allSettled([task.delete('parent')]);
      await task.exec('other', 'exit 4');
      await task.start('other');
      assert.equal(await task.wait('other'), 4);
      assert.equal((await inTime('state', bench.runtime.state(scope, task.process()))).status, 'running');
      await task.delete('other');
      await task.kill(9);
      await task.wait();
      await deleting;
      await inTime('end of output', Promise.all(readers.map((reader) => reader.all())));
      await task.delete();
    },
};
