import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Metrics as MetricsV1 } from '../../api/gen/cgroups/v1.js';
import { Metrics as MetricsV2 } from '../../api/gen/cgroups/v2.js';
import { CheckpointOptions } from '../../api/gen/runtime/runc-options.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { withMemoryLimit, withPidsLimit } from '../../lib/oci/runtime-spec.js';
import { isAny, packAny, unpackAny } from '../../lib/rpc/any.js';
import type { Checks } from './runtime.js';
import { inTime, rejects, scope, until } from './runtime.workbench.js';

const MEBIBYTE = 1n << 20n;

/** criu-check(8): whether the kernel has what criu needs, in a way that this criu understands. */
const criuWorks = (): boolean => spawnSync('criu', ['check']).status === 0;

interface Numbers {
  readonly memory: bigint;
  readonly memoryLimit: bigint;
  readonly cpu: bigint;
  readonly pids: bigint;
  readonly pidsLimit: bigint;
}

function numbersOf(stats: AnyMessage): Numbers {
  if (isAny(MetricsV1, stats)) {
    const { memory, cpu, pids } = unpackAny(MetricsV1, stats);
    return {
      memory: memory?.usage?.usage ?? 0n,
      memoryLimit: memory?.usage?.limit ?? 0n,
      cpu: cpu?.usage?.total ?? 0n,
      pids: pids?.current ?? 0n,
      pidsLimit: pids?.limit ?? 0n,
    };
  }
  const { memory, cpu, pids } = unpackAny(MetricsV2, stats);
  return {
    memory: memory?.usage ?? 0n,
    memoryLimit: memory?.usageLimit ?? 0n,
    cpu: cpu?.usageUsec ?? 0n,
    pids: pids?.current ?? 0n,
    pidsLimit: pids?.limit ?? 0n,
  };
}

export const controlChecks: Checks = {
  'delivers signals': async (bench) => {
    const fifos = await bench.fifos();
    const { stdout: reader } = fifos.readers();
    const task = await bench.run(
      'trap "echo usr1" USR1; trap "exit 21" TERM; echo ready; while :; do usleep 10000; done',
      {
        streams: fifos.output,
      },
    );
    await until('it is ready', () => reader.text.includes('ready'));
    await task.kill(10);
    await until('the first signal', () => reader.text.includes('usr1'));
    await task.kill(15);
    assert.equal(await task.wait(), 21);
    await inTime('end of output', reader.all());
    await task.delete();
  },

  'refuses signals that do not exist': async (bench) => {
    const task = await bench.run('sleep 60');
    for (const signal of [0, 65, 4_294_967_295]) await rejects('INVALID_ARGUMENT', task.kill(signal));
    await task.end();
  },

  'kills every process when asked to': async (bench) => {
    const task = await bench.run('trap "exit 1" TERM; sleep 60 & while :; do usleep 10000; done');
    await task.exec('e', 'sleep 60');
    await task.start('e');
    await bench.runtime.kill(scope, task.process(), 9, true);
    assert.equal(await task.wait(), 137);
    assert.equal(await task.wait('e'), 137);
    await task.delete();
  },

  'sends any signal to every process when asked to': async (bench) => {
    const task = await bench.run('sleep 60');
    await task.exec('e', 'sleep 60');
    await task.start('e');
    await bench.runtime.kill(scope, task.process(), 15, true);
    assert.equal(await task.wait('e'), 143);
    // Process 1 of a pid namespace has no default action for a signal.
    assert.equal(await task.status(), 'running');
    await task.end();
  },

  'pauses and resumes': async (bench) => {
    const fifos = await bench.fifos();
    const { stdout: reader } = fifos.readers();
    const task = await bench.run('while :; do echo x; usleep 5000; done', { streams: fifos.output });
    await until('some output', () => reader.text.length > 10);
    await bench.runtime.pause(scope, task.id);
    assert.equal(await task.status(), 'paused');
    await delay(50);
    const silent = reader.text.length;
    await delay(150);
    assert.equal(reader.text.length, silent);
    await bench.runtime.resume(scope, task.id);
    assert.equal(await task.status(), 'running');
    await until('more output', () => reader.text.length > silent);
    await task.end();
    const topics = await bench.topics(task.id, 6);
    assert.deepEqual(topics, ['create', 'start', 'paused', 'resumed', 'exit', 'delete']);
  },

  'measures, and limits anew': async (bench) => {
    const task = await bench.run('while :; do :; done', { changes: [withPidsLimit(50)] });
    const stats = async (): Promise<Numbers> => numbersOf(await bench.runtime.stats(scope, task.id));
    await until('some use of the processor', async () => (await stats()).cpu > 0n);
    // The threads of the runtime's init count until the shell has taken its place.
    await until('a single process', async () => (await stats()).pids === 1n);
    const first = await stats();
    assert.ok(first.memory > 0n);
    assert.equal(first.pids, 1n);
    assert.equal(first.pidsLimit, 50n);
    const resources = { memory: { limit: Number(64n * MEBIBYTE) }, pids: { limit: 33 } };
    const url = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources';
    await bench.runtime.update(scope, task.id, { typeUrl: url, value: Buffer.from(JSON.stringify(resources)) });
    const second = await stats();
    assert.equal(second.memoryLimit, 64n * MEBIBYTE);
    assert.equal(second.pidsLimit, 33n);
    await assert.rejects(bench.runtime.update(scope, task.id, { typeUrl: url, value: Buffer.from('{') }));
    await task.end();
    await rejects('NOT_FOUND', bench.runtime.stats(scope, task.id));
  },

  'tells of a kill for want of memory': async (bench) => {
    const task = await bench.run('x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done', {
      changes: [withMemoryLimit(Number(16n * MEBIBYTE))],
    });
    assert.equal(await task.wait(), 137);
    await task.delete();
    const topics = await bench.topics(task.id, 5);
    assert.ok(topics.includes('oom'), topics.join());
    assert.ok(topics.indexOf('oom') < topics.lastIndexOf('delete'));
  },

  'checkpoints and restores where criu works, and says why it cannot elsewhere': async (bench, can) => {
    if (!can.checkpoint) return;
    const image = join(bench.work, 'image');
    await mkdir(image);
    const options = packAny(CheckpointOptions, CheckpointOptions.fromPartial({ exit: true }));
    const script = 'i=0; while :; do i=$((i+1)); echo $i >/count; usleep 5000; done';
    const task = await bench.run(script);
    /** How far it has counted; undefined in the moment between emptying the file and writing it. */
    const count = async (): Promise<number | undefined> =>
      Number(await readFile(join(bench.work, 'busybox/count'), 'utf8').catch(() => '')) || undefined;
    await until('it counts', async () => ((await count()) ?? 0) > 10);
    const checkpoint = bench.runtime.checkpoint(scope, { id: task.id, path: image, options });
    if (!criuWorks()) {
      await assert.rejects(checkpoint, /criu/i);
      assert.equal(await task.status(), 'running');
      await task.end();
      return;
    }
    await inTime('the checkpoint', checkpoint);
    await task.wait();
    await task.delete();
    const before = (await count()) ?? 0;
    await bench.runtime.create(scope, { ...bench.request(task.id, script), checkpoint: image });
    await task.start();
    assert.equal(await task.status(), 'running');
    let after = before;
    await until('it counts again', async () => {
      after = (await count()) ?? before;
      return after !== before;
    });
    assert.ok(after > before, `it had counted to ${before}, and went on with ${after}`);
    await task.end();
  },

  'says what it is': async (bench) => {
    const facts = await bench.runtime.facts(bench.runtimeName);
    assert.equal(facts.name, bench.runtimeName);
    assert.match(facts.version, /\d/);
  },
};
