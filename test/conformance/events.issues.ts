/** One check for each bug that event buses had before, with its link. */
import assert from 'node:assert/strict';
import { type Check, ENDS, OTHER } from './events.workbench.js';

export const issueChecks: Readonly<Record<string, Check>> = {
  'https://github.com/containerd/containerd/issues/2308: a subscription by expression shows what matches, and stays':
    async (bench) => {
      const subscriber = await bench.subscribe('topic~="/containers/create"', ENDS);
      for (const topic of ['/containers/create', '/tasks/exit', '/containers/delete', '/containers/create'])
        await bench.publish(topic);
      assert.deepEqual(await bench.topics(subscriber), ['/containers/create', '/containers/create']);
    },

  'https://github.com/containerd/containerd/pull/9962: one filter that is none makes all of them refused': async (
    bench,
  ) => {
    const subscribe = async (): Promise<unknown> =>
      bench.topics(await bench.subscribe('topic=="/tasks/oom"', 'topic="/tasks/exit"', ENDS));
    await assert.rejects(subscribe);
    // and what was refused holds up nobody
    const subscriber = await bench.subscribe('topic=="/tasks/exit"', ENDS);
    await bench.publish('/tasks/exit');
    assert.deepEqual(await bench.topics(subscriber), ['/tasks/exit']);
  },

  'https://github.com/containerd/containerd/pull/13646: those who read no more hold up neither publishers nor newcomers':
    async (bench) => {
      for (let count = 0; count < 5; count += 1) await bench.subscribe();
      for (let count = 0; count < 200; count += 1) await bench.publish(`/t/n${count}`, OTHER);
      const newcomer = await bench.subscribe();
      await bench.publish('/t/after');
      assert.deepEqual(await bench.topics(newcomer), ['/t/after']);
    },
};
