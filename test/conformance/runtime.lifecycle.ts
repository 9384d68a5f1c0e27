import assert from 'node:assert/strict';
import { withArgs } from '../../lib/oci/runtime-spec.js';
import type { Checks } from './runtime.js';
import { inTime, NAMESPACE, rejects, scope, until } from './runtime.workbench.js';

export const lifecycleChecks: Checks = {
  'runs a process, tells its output and its status, and leaves nothing': async (bench) => {
    const { stdout, stderr, status } = await bench.output('echo out; echo err >&2; exit 7');
    assert.deepEqual({ stdout, stderr, status }, { stdout: 'out\n', stderr: 'err\n', status: 7 });
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), []);
  },

  'tells every kind of end': async (bench) => {
    for (const [script, status] of [
      ['exit 0', 0],
      ['exit 255', 255],
      ['no-such-command', 127],
      [`sh -c 'kill -9 $$'; exit $?`, 137],
      ['trap "exit 3" TERM; kill -TERM $$; sleep 9', 3],
    ] as const) {
      assert.equal((await bench.output(script)).status, status, script);
    }
  },

  'goes through its states, with a pid that is real': async (bench) => {
    const before = BigInt(Date.now()) * 1_000_000n;
    const task = await bench.create('sleep 60');
    assert.equal(await task.status(), 'created');
    assert.ok(bench.alive(task.pid));
    assert.equal((await task.start()).pid, task.pid);
    const running = await bench.runtime.state(scope, task.process());
    assert.equal(running.status, 'running');
    assert.equal(running.pid, task.pid);
    assert.equal(running.exit, undefined);
    await rejects('FAILED_PRECONDITION', task.start());
    await rejects('FAILED_PRECONDITION', task.delete());
    await task.kill(15);
    // Process 1 of a pid namespace has no default action for a signal.
    assert.equal(await task.status(), 'running');
    await task.kill(9);
    assert.equal(await task.wait(), 137);
    const stopped = await bench.runtime.state(scope, task.process());
    assert.equal(stopped.status, 'stopped');
    assert.equal(stopped.exit?.exitStatus, 137);
    assert.ok((stopped.exit?.exitedAt ?? 0n) >= before);
    assert.equal(await task.wait(), 137);
    await rejects('NOT_FOUND', task.kill(9));
    assert.equal(await task.delete(), 137);
    await until('the process is gone', () => !bench.alive(task.pid));
    await rejects('NOT_FOUND', task.delete());
  },

  'publishes create, start, exit and delete, once each and in order': async (bench) => {
    const task = await bench.run('exit 3');
    await task.wait();
    await task.delete();
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
    const [exit] = bench.exits(task.id);
    assert.deepEqual([exit?.containerId, exit?.id, exit?.pid, exit?.exitStatus], [task.id, task.id, task.pid, 3]);
  },

  'deletes a task that was never started': async (bench) => {
    const task = await bench.create('echo never');
    await task.delete();
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), []);
    assert.equal(bench.alive(task.pid), false);
  },

  'kills a task that was never started': async (bench) => {
    const task = await bench.create('echo never');
    await task.kill(9);
    assert.equal(await task.wait(), 137);
    assert.equal(await task.delete(), 137);
  },

  'knows no task of an unknown id': async (bench) => {
    const process = { id: 'nobody' };
    const { runtime } = bench;
    await rejects('NOT_FOUND', runtime.state(scope, process));
    await rejects('NOT_FOUND', runtime.start(scope, process));
    await rejects('NOT_FOUND', runtime.kill(scope, process, 9));
    await rejects('NOT_FOUND', runtime.delete(scope, process));
    await rejects('NOT_FOUND', runtime.wait(scope, process));
    await rejects('NOT_FOUND', runtime.pids(scope, 'nobody'));
    await rejects('NOT_FOUND', runtime.pause(scope, 'nobody'));
  },

  'refuses a second task of one id, and takes the id again afterwards': async (bench) => {
    const task = await bench.run('sleep 60');
    await rejects('ALREADY_EXISTS', bench.create('true', {}, task.id));
    assert.equal(await task.status(), 'running');
    await task.end();
    const again = await bench.create('exit 4', {}, task.id);
    await again.start();
    assert.equal(await again.wait(), 4);
    await again.delete();
  },

  'keeps namespaces apart': async (bench) => {
    const task = await bench.run('sleep 60');
    await rejects('NOT_FOUND', bench.runtime.state({ namespace: 'other' }, task.process()));
    assert.deepEqual(bench.runtime.tasks('other'), []);
    assert.ok(bench.runtime.namespaces().includes(NAMESPACE));
    await task.end();
  },

  'leaves nothing of a create that fails, and no event': async (bench) => {
    const id = bench.freshId();
    const missing = bench.request(id, '', { changes: [withArgs(['/no/such/program'])] });
    await assert.rejects(bench.runtime.create(scope, missing), /no such file|not found/i);
    const broken = { ...bench.request(id, ''), spec: { typeUrl: 'x', value: Buffer.from('{') } };
    await assert.rejects(bench.runtime.create(scope, broken));
    const unmountable = {
      ...bench.request(id, ''),
      rootfs: [{ type: 'bind', source: '/no/such', target: '', options: ['bind'] }],
    };
    await assert.rejects(bench.runtime.create(scope, unmountable));
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), []);
    const task = await bench.create('exit 5', {}, id);
    await task.start();
    assert.equal(await task.wait(), 5);
    await task.delete();
    assert.deepEqual(await bench.topics(id, 4), ['create', 'start', 'exit', 'delete']);
  },

  'refuses ids that are no names': async (bench) => {
    for (const id of ['', '..', 'a/b', '-a', 'x'.repeat(77)]) {
      await rejects('INVALID_ARGUMENT', bench.runtime.create(scope, { ...bench.request('x', 'true'), id }));
    }
  },

  'runs twenty at once': async (bench) => {
    const numbers = Array.from({ length: 20 }, (_, i) => i);
    const outputs = await inTime(
      'twenty containers',
      Promise.all(numbers.map((i) => bench.output(`echo ${i}; exit ${i}`))),
      60_000,
    );
    assert.deepEqual(
      outputs.map(({ stdout, status }) => [stdout, status]),
      numbers.map((i) => [`${i}\n`, i]),
    );
  },
};
