import assert from 'node:assert/strict';
import { ProcessDetails } from '../../api/gen/runtime/runc-options.js';
import { isAny, unpackAny } from '../../lib/rpc/any.js';
import { Reader, Writer } from './container.js';
import type { Checks } from './runtime.js';
import { inTime, rejects, scope, until } from './runtime.workbench.js';

export const execChecks: Checks = {
  'runs a further process with streams and a status of its own': async (bench) => {
    const task = await bench.run('sleep 60');
    const fifos = await bench.fifos();
    const readers = [new Reader(fifos.stdout), new Reader(fifos.stderr)];
    await task.exec('e1', 'echo out; echo err >&2; exit 17', fifos.output);
    assert.equal(await task.status('e1'), 'created');
    const waiting = task.wait('e1');
    const { pid } = await task.start('e1');
    assert.ok(pid > 1 && pid !== task.pid);
    assert.equal(await waiting, 17);
    assert.equal(await task.status('e1'), 'stopped');
    assert.deepEqual(await inTime('output', Promise.all(readers.map((reader) => reader.all()))), ['out\n', 'err\n']);
    assert.equal(await task.status(), 'running');
    assert.equal(await task.delete('e1'), 17);
    await rejects('NOT_FOUND', task.delete('e1'));
    await task.end();
    const topics = await bench.topics(task.id, 7);
    assert.deepEqual(topics, ['create', 'start', 'exec-added', 'exec-started', 'exit', 'exit', 'delete']);
  },

  'takes input and a terminal': async (bench, can) => {
    const task = await bench.run('sleep 60');
    const fifos = await bench.fifos();
    const reader = new Reader(fifos.stdout);
    await task.exec('tty', 'read a; stty size; echo "$a!"', fifos.terminal);
    const resize = (): Promise<void> => bench.runtime.resize(scope, task.process('tty'), { width: 77, height: 33 });
    if (can.resizeBeforeStart) await resize();
    await task.start('tty');
    if (!can.resizeBeforeStart) await resize();
    const writer = new Writer(fifos.stdin);
    writer.write('word\n');
    assert.equal(await task.wait('tty'), 0);
    assert.match(await inTime('output', reader.all()), /33 77\r\nword!\r\n$/);
    await writer.end();
    await task.delete('tty');
    await task.end();
  },

  'has a terminal of the size that it was given, from its first instruction on': async (bench, can) => {
    if (!can.resizeBeforeStart) return;
    const task = await bench.run('sleep 60');
    for (let i = 0; i < 5; i++) {
      const fifos = await bench.fifos();
      const reader = new Reader(fifos.stdout);
      await task.exec('tty', 'exec stty size', fifos.terminal);
      await bench.runtime.resize(scope, task.process('tty'), { width: 97, height: 31 });
      await task.start('tty');
      assert.equal(await task.wait('tty'), 0);
      assert.equal(await inTime('output', reader.all()), '31 97\r\n');
      await task.delete('tty');
    }
    await task.end();
  },

  'has ids of its own': async (bench) => {
    const task = await bench.run('sleep 60');
    await task.exec('same', 'sleep 60');
    await rejects('ALREADY_EXISTS', task.exec('same', 'true'));
    await rejects('NOT_FOUND', task.start('other'));
    await task.delete('same');
    await task.exec('same', 'exit 1');
    await task.start('same');
    assert.equal(await task.wait('same'), 1);
    await rejects('FAILED_PRECONDITION', task.start('same'));
    await task.delete('same');
    await task.end();
  },

  'is killed alone': async (bench) => {
    const task = await bench.run('sleep 60');
    await task.exec('victim', 'sleep 60');
    await task.start('victim');
    await rejects('FAILED_PRECONDITION', task.delete('victim'));
    await task.kill(9, 'victim');
    assert.equal(await task.wait('victim'), 137);
    // An exit of init is told last: that it is alive is shown by what still runs in its container.
    await task.exec('witness', 'exit 5');
    await task.start('witness');
    assert.equal(await task.wait('witness'), 5);
    assert.equal(await task.status(), 'running');
    await rejects('NOT_FOUND', task.kill(9, 'victim'));
    await task.delete('witness');
    await task.delete('victim');
    await task.end();
  },

  'tells why it cannot be started, and can be deleted then': async (bench) => {
    const task = await bench.run('sleep 60');
    const spec = {
      typeUrl: 'x',
      value: Buffer.from(JSON.stringify({ args: ['/no/such'], cwd: '/', env: [], user: { uid: 0, gid: 0 } })),
    };
    const streams = { terminal: false, stdin: '', stdout: '', stderr: '' };
    await bench.runtime.exec(scope, { id: task.id, execId: 'bad', spec, ...streams });
    await assert.rejects(task.start('bad'), /no such file|not found/i);
    await task.delete('bad');
    assert.equal(await task.status(), 'running');
    await task.end();
  },

  'is refused once the task has stopped': async (bench) => {
    const task = await bench.run('exit 0');
    await task.wait();
    await rejects('FAILED_PRECONDITION', task.exec('late', 'true'));
    await task.delete();
  },

  'ends with the task, its exit told first': async (bench) => {
    const task = await bench.run('sleep 60');
    for (const id of ['a', 'b']) {
      await task.exec(id, 'sleep 60');
      await task.start(id);
    }
    await task.kill(9);
    assert.deepEqual([await task.wait('a'), await task.wait('b'), await task.wait()], [137, 137, 137]);
    await task.delete();
    const topics = await bench.topics(task.id, 10);
    assert.deepEqual(topics.slice(-4), ['exit', 'exit', 'exit', 'delete']);
    const [execs, [last]] = [bench.exits(task.id).slice(0, -1), bench.exits(task.id).slice(-1)];
    assert.deepEqual(execs.map(({ id }) => id).sort(), ['a', 'b']);
    assert.equal(last?.id, task.id, 'the exit of init comes last');
  },

  'runs ten at once, each with its own status': async (bench) => {
    const task = await bench.run('sleep 60');
    const numbers = Array.from({ length: 10 }, (_, i) => i);
    const statuses = await Promise.all(
      numbers.map(async (i) => {
        await task.exec(`e${i}`, `exit ${i}`);
        await task.start(`e${i}`);
        return task.wait(`e${i}`);
      }),
    );
    assert.deepEqual(statuses, numbers);
    await Promise.all(numbers.map((i) => task.delete(`e${i}`)));
    await task.end();
  },

  'is told apart among the pids': async (bench) => {
    const task = await bench.run('sleep 60 & wait');
    await task.exec('named', 'exec sleep 60');
    const { pid } = await task.start('named');
    await until('three processes', async () => (await bench.runtime.pids(scope, task.id)).length === 3);
    const pids = await bench.runtime.pids(scope, task.id);
    assert.ok(pids.some((entry) => entry.pid === task.pid && entry.info === undefined));
    const info = pids.find((entry) => entry.pid === pid)?.info;
    assert.ok(info !== undefined && isAny(ProcessDetails, info));
    assert.equal(unpackAny(ProcessDetails, info).execId, 'named');
    await task.end();
  },
};
