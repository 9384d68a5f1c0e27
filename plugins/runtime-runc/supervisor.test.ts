import assert from 'node:assert/strict';
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from '../../kernel/errors.js';
import { mountsWithin } from '../../lib/linux/mount.js';
import { readStat } from '../../lib/linux/proc.js';
import { withAnnotations, withTerminal } from '../../lib/oci/runtime-spec.js';
import { Reader, Writer } from '../../test/conformance/container.js';
import { inTime, NAMESPACE, scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { type RuncOverrides, runcSubject, supervisorsBelow } from '../../test/harness/runc.js';

const reason = await runcSubject().unavailable();
const skip = reason ?? false;

const SIGKILL = 9;

const open = (overrides: RuncOverrides = {}): Promise<Workbench> => Workbench.open(runcSubject(overrides));

async function supervisor(bench: Workbench): Promise<number> {
  const [pid] = await supervisorsBelow(bench.work);
  assert.ok(pid !== undefined, 'a supervisor runs');
  return pid;
}

/** A program in the test's directory that stands in for runc. */
async function fakeRunc(bench: { readonly work: string }, script: string): Promise<string> {
  const path = join(bench.work, 'fake-runc');
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

const options = (binary: string) => {
  // containerd.runc.v1.Options with binary_name (field 6).
  const name = Buffer.from(binary);
  return { typeUrl: 'containerd.runc.v1.Options', value: Buffer.concat([Buffer.from([0x32, name.length]), name]) };
};

const counter = (from: number, to: number, status: number): string =>
  `i=${from}; while [ $i -lt ${to} ]; do echo $i; i=$((i+1)); usleep 10000; done; exit ${status}`;

const counted = (to: number): string => Array.from({ length: to }, (_, i) => `${i}\n`).join('');

describe('a supervisor that is killed', { skip }, () => {
  it('takes no container with it, no output and no exit status', async () => {
    await using bench = await open();
    const fifos = await bench.fifos();
    const reader = new Reader(fifos.stdout);
    const task = await bench.run(counter(0, 150, 44), { streams: fifos.output });
    const waiting = task.wait();
    await until('some output', () => reader.text.length > 20);
    const first = await supervisor(bench);
    process.kill(first, SIGKILL);
    await until('another supervisor', async () => (await supervisorsBelow(bench.work)).some((pid) => pid !== first));
    assert.equal(await task.status(), 'running');
    assert.equal(await waiting, 44);
    assert.equal(await inTime('end of output', reader.all()), counted(150));
    assert.equal(await task.delete(), 44);
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
  });

  it('leaves the true status of a process that ends before another takes over', async () => {
    await using bench = await open();
    const keep = await bench.run('sleep 600');
    const task = await bench.run('sleep 1; exit 45');
    await keep.exec('e', 'sleep 1; exit 46');
    const exec = await keep.start('e');
    const pid = await supervisor(bench);
    process.kill(pid, 'SIGSTOP');
    await until('both have ended', () => !isRunning(task.pid) && !isRunning(exec.pid)).finally(() =>
      process.kill(pid, SIGKILL),
    );
    assert.equal(await task.wait(), 45);
    assert.equal(await keep.wait('e'), 46);
    await task.delete();
    await keep.end();
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
  });

  it('is followed by one that goes on with terminals', async () => {
    await using bench = await open();
    const fifos = await bench.fifos();
    const reader = new Reader(fifos.stdout);
    const task = await bench.run('while read line; do echo "<$line>"; done; exit 12', {
      streams: fifos.terminal,
      changes: [withTerminal],
    });
    const writer = new Writer(fifos.stdin);
    writer.write('a\n');
    await until('the first answer', () => reader.text.includes('<a>'));
    const first = await supervisor(bench);
    process.kill(first, SIGKILL);
    await until('another supervisor', async () => (await supervisorsBelow(bench.work)).some((pid) => pid !== first));
    assert.equal(await task.status(), 'running');
    writer.write('b\n');
    await until('the second answer', () => reader.text.includes('<b>'));
    await bench.runtime.resize(scope, task.process(), { width: 50, height: 20 });
    writer.write('\x04');
    assert.equal(await task.wait(), 12);
    await inTime('end of output', reader.all());
    await writer.end();
    await task.delete();
  });

  it('together with the daemon: all is found again', async () => {
    await using bench = await open();
    const fifos = await bench.fifos();
    const reader = new Reader(fifos.stdout);
    const task = await bench.run(counter(0, 100, 47), { streams: fifos.output });
    await until('some output', () => reader.text.length > 20);
    await bench.restart(async () => {
      process.kill(await supervisor(bench), SIGKILL);
      await delay(100);
    });
    assert.equal(await task.status(), 'running');
    assert.equal(await task.wait(), 47);
    assert.equal(await inTime('end of output', reader.all()), counted(100));
    await task.delete();
  });

  it('during a create: nothing is left, and the id is free', async () => {
    await using bench = await open();
    const keep = await bench.run('sleep 60');
    const runc = await fakeRunc(bench, 'case "$*" in *" create "*) sleep 1;; esac\nexec runc "$@"');
    const id = bench.freshId();
    const creating = bench.runtime.create(scope, { ...bench.request(id, 'true'), options: options(runc) });
    creating.catch(() => undefined);
    await until('runc is at work', async () => (await readFile(join(bench.work, 'fake-runc'))).length > 0);
    await delay(300);
    process.kill(await supervisor(bench), SIGKILL);
    await assert.rejects(inTime('the create', creating), (error) => hasCode(error, 'UNAVAILABLE'));
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), [keep.id]);
    const again = await bench.create('exit 3', {}, id);
    await again.start();
    assert.equal(await again.wait(), 3);
    await again.delete();
    await keep.end();
  });
});

const isRunning = (pid: number): boolean => {
  const state = readStat(pid)?.state;
  return state !== undefined && state !== 'Z';
};

describe('an OCI runtime that fails', { skip }, () => {
  it('by being absent: says so, and leaves nothing', async () => {
    await using bench = await open({ binary: 'no-such-runc' });
    await assert.rejects(bench.create('true'), { code: 'FAILED_PRECONDITION', message: /no-such-runc.*install/ });
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), []);
    assert.deepEqual(mountsWithin(bench.work), []);
  });

  it('by hanging: the call ends at the deadline, others go on, nothing is left', async () => {
    await using bench = await open({ deadline: 700 });
    const runc = await fakeRunc(bench, 'case "$*" in *" create "*) exec sleep 600;; esac\nexec runc "$@"');
    const hung = bench.runtime.create(scope, { ...bench.request(bench.freshId(), 'true'), options: options(runc) });
    const failed = assert.rejects(hung, { code: 'DEADLINE_EXCEEDED' });
    assert.equal((await bench.output('echo fine')).stdout, 'fine\n');
    await inTime('the hung create', failed, 5000);
    assert.deepEqual(bench.runtime.tasks(NAMESPACE), []);
    assert.deepEqual(mountsWithin(bench.work), []);
  });

  it('by dying after its work, before telling the pid: nothing is left', async () => {
    await using bench = await open();
    const script =
      'case "$*" in *" create "*) runc "$@"; for a; do case "$p" in --pid-file) rm "$a";; esac; p=$a; done; kill -9 $$;; esac\nexec runc "$@"';
    const runc = await fakeRunc(bench, script);
    const id = bench.freshId();
    await assert.rejects(bench.runtime.create(scope, { ...bench.request(id, 'sleep 60'), options: options(runc) }));
    assert.deepEqual(mountsWithin(bench.work), []);
    assert.equal(statSync(`/sys/fs/cgroup/pids/${NAMESPACE}/${id}`, { throwIfNoEntry: false }), undefined);
    const again = await bench.create('exit 2', {}, id);
    await again.start();
    assert.equal(await again.wait(), 2);
    await again.delete();
  });
});

describe('supervisors', { skip }, () => {
  it('serve a namespace, a pod or a container each, and end when they are not needed', async () => {
    for (const [grouping, count] of [
      ['namespace', 1],
      ['pod', 2],
      ['container', 3],
    ] as const) {
      await using bench = await open({ grouping, idle: 200 });
      const inPod = { changes: [withAnnotations({ 'io.kubernetes.cri.sandbox-id': 'pod' })] };
      const tasks = [
        await bench.run('sleep 60', inPod),
        await bench.run('sleep 60', inPod),
        await bench.run('sleep 60'),
      ];
      assert.equal((await supervisorsBelow(bench.work)).length, count, grouping);
      for (const task of tasks) await task.end();
      await until('no supervisor', async () => (await supervisorsBelow(bench.work)).length === 0);
    }
  });

  it('that do not answer hold up nobody else, nor the start of the daemon', async () => {
    await using bench = await open({ grouping: 'container' });
    const mute = await bench.run('exit 9');
    const [pid] = await supervisorsBelow(bench.work);
    assert.ok(pid);
    process.kill(pid, 'SIGSTOP');
    assert.equal((await bench.output('echo other')).stdout, 'other\n');
    const begin = performance.now();
    await bench.restart();
    assert.ok(performance.now() - begin < 4000);
    assert.equal((await bench.output('echo other')).stdout, 'other\n');
    process.kill(pid, 'SIGCONT');
    assert.equal(await mute.wait(), 9);
    await mute.delete();
  });

  it('let nobody but root in', async () => {
    await using bench = await open();
    const task = await bench.run('sleep 60');
    const state = join(bench.work, 'subject');
    const [name = ''] = readdirSync(join(state, '.s'));
    assert.equal(statSync(join(state, '.s', name)).mode & 0o777, 0o700);
    assert.equal(statSync(join(state, '.s', name, 's')).mode & 0o777, 0o600);
    assert.equal(statSync(join(state, NAMESPACE, task.id)).mode & 0o777, 0o700);
    const abstract = (await readFile('/proc/net/unix', 'utf8')).split('\n').filter((line) => line.includes('@keelson'));
    assert.deepEqual(abstract, []);
    await task.end();
  });

  it('keep no descriptor, record or file of what is gone', async () => {
    await using bench = await open();
    const keep = await bench.run('sleep 600');
    const pid = await supervisor(bench);
    const round = async (): Promise<void> => {
      const fifos = await bench.fifos();
      const reader = new Reader(fifos.stdout);
      const task = await bench.run('echo x; sleep 600', { streams: fifos.terminal, changes: [withTerminal] });
      await task.exec('e', 'exit 1', { ...fifos.output, stdout: fifos.stdout });
      await task.start('e');
      await task.wait('e');
      await task.delete('e');
      await task.end();
      await reader.all();
    };
    await round();
    const count = (): number => readdirSync(`/proc/${pid}/fd`).length;
    const own = (): number => readdirSync('/proc/self/fd').length;
    await delay(200);
    const before = [count(), own()];
    for (let i = 0; i < 5; i++) await round();
    await until('descriptors are back', () => count() <= (before[0] ?? 0) && own() <= (before[1] ?? 0), 3000).catch(
      () => {
        const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
        assert.fail(`descriptors: ${before} before, ${[count(), own()]} after: ${open.join(' ')}`);
      },
    );
    assert.deepEqual(readdirSync(join(bench.work, 'subject', NAMESPACE)), [keep.id]);
    const files = readdirSync(join(bench.work, 'subject/.s')).flatMap((dir) =>
      readdirSync(join(bench.work, 'subject/.s', dir)),
    );
    assert.deepEqual(files.sort(), ['lock', 'log', 's']);
    await keep.end();
  });
});
