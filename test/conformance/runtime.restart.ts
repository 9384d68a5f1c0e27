import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Checks } from './runtime.js';
import { inTime, NAMESPACE, scope, until } from './runtime.workbench.js';

/** Prints 0, 1, 2, ... up to 149 and exits with that status. */
const counter = (status: number): string =>
  `i=0; while [ $i -lt 150 ]; do echo $i; i=$((i+1)); usleep 10000; done; exit ${status}`;

const counted = Array.from({ length: 150 }, (_, i) => `${i}\n`).join('');

export const restartChecks: Checks = {
  'finds its tasks again, and no output is lost': async (bench) => {
    const fifos = await bench.fifos();
    const { stdout: reader } = fifos.readers();
    const task = await bench.run(counter(11), { streams: fifos.output });
    await until('some output', () => reader.text.length > 20);
    await bench.restart(() => delay(200));
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), [task.id]);
    assert.equal(await task.status(), 'running');
    assert.equal((await bench.runtime.state(scope, task.process())).pid, task.pid);
    assert.equal(await task.wait(), 11);
    assert.equal(await inTime('end of output', reader.all()), counted);
    assert.equal(await task.delete(), 11);
  },

  'knows how a process ended while nobody looked': async (bench, can) => {
    const task = await bench.run('usleep 200000; exit 23');
    await bench.restart(() => delay(500));
    assert.equal(await task.status(), 'stopped');
    assert.equal(await task.wait(), 23);
    assert.equal(await task.delete(), 23);
    if (can.replayExits) assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
  },

  'goes on with execs, terminals and deletion': async (bench) => {
    const task = await bench.run('sleep 60');
    await task.exec('old', 'sleep 60');
    await task.start('old');
    await bench.restart();
    assert.equal(await task.status('old'), 'running');
    await task.kill(9, 'old');
    assert.equal(await task.wait('old'), 137);
    await task.delete('old');
    await task.exec('new', 'exit 3');
    await task.start('new');
    assert.equal(await task.wait('new'), 3);
    await task.delete('new');
    await task.end();
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), []);
  },

  'keeps a task that was only created': async (bench) => {
    const task = await bench.create('exit 31');
    await bench.restart();
    assert.equal(await task.status(), 'created');
    await task.start();
    assert.equal(await task.wait(), 31);
    await task.delete();
  },
};
