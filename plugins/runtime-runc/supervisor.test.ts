import assert from 'node:assert/strict';
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Events } from '../../kernel/contracts/events.js';
import { hasCode } from '../../kernel/errors.js';
import { mountsWithin } from '../../lib/linux/mount.js';
import { readStat } from '../../lib/linux/proc.js';
import { becomeSubreaper, reap } from '../../lib/linux/process.js';
import { type Change, withAnnotations, withTerminal } from '../../lib/oci/runtime-spec.js';
import { Reader, Writer } from '../../test/conformance/container.js';
import {
  inTime,
  NAMESPACE,
  type RuntimeSubject,
  rejects,
  scope,
  until,
  Workbench,
} from '../../test/conformance/runtime.workbench.js';
import { Background } from '../../test/harness/command.js';
import { groupDirectory } from '../../test/harness/limited-group.js';
import { type RuncOverrides, runcSubject, supervisorsBelow } from '../../test/harness/runc.js';

const reason = await runcSubject().unavailable();
const skip = reason ?? false;

const SIGKILL = 9;

const [major = 0, minor = 0] = release().split('.').map(Number);
const tooOld =
  major > 6 || (major === 6 && minor >= 15) ? false : 'this kernel keeps no exit status of pinned processes';

const open = (overrides: RuncOverrides = {}): Promise<Workbench> => Workbench.open(runcSubject(overrides));

async function supervisor(bench: Workbench): Promise<number> {
  const [pid] = await supervisorsBelow(bench.work);
  assert.ok(pid !== undefined, 'a supervisor runs');
  return pid;
}

/** What the work makes the process do ends where it renames a file for that time: SIGKILL. */
async function killAtRename(pid: number, time: number, work: () => Promise<void>): Promise<void> {
  const calls = '?rename,?renameat,?renameat2';
  const inject = `inject=${calls}:signal=SIGKILL:when=${time}`;
  await using strace = new Background('strace', ['-p', String(pid), '-e', `trace=${calls}`, '-e', inject]);
  await until('strace is attached', () => strace.stderr.text.includes('attached'));
  await work();
  await strace.end();
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

/** A script that goes on once there is a file `go` in the root filesystem. */
const UNTIL_GO = 'while [ ! -e /go ]; do usleep 5000; done';

/** Supervisors that are started by the work fail at those points (lib/failpoint.ts). */
async function withFailpoints<T>(points: string, work: () => Promise<T>): Promise<T> {
  process.env.KEELSON_FAILPOINTS = points;
  try {
    return await work();
  } finally {
    delete process.env.KEELSON_FAILPOINTS;
  }
}

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

  it('leaves input open, and its end to whoever asks for it', async () => {
    await using bench = await open();
    const fifos = await bench.fifos();
    const { stdout: reader } = fifos.readers();
    const task = await bench.run('cat; exit 7', { streams: fifos.all });
    const writer = new Writer(fifos.stdin);
    writer.write('a');
    await writer.end();
    const first = await supervisor(bench);
    process.kill(first, SIGKILL);
    await until('another supervisor', async () => (await supervisorsBelow(bench.work)).some((pid) => pid !== first));
    assert.equal(await task.status(), 'running');
    const second = new Writer(fifos.stdin);
    second.write('b');
    await until('all input', () => reader.text === 'ab');
    await bench.runtime.closeStdin(scope, task.process());
    assert.equal(await task.status(), 'running');
    await second.end();
    assert.equal(await task.wait(), 7);
    await task.delete();
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

  it('together with the daemon, leaves the true status of what ends before another takes over', {
    skip: tooOld,
  }, async () => {
    await using bench = await open();
    // Orphans of the supervisor become children of this process, which reaps them as init would: nobody holds them.
    becomeSubreaper();
    const task = await bench.run('sleep 1; exit 48');
    const keep = await bench.run('sleep 600');
    await keep.exec('e', 'sleep 1; exit 49');
    const exec = await keep.start('e');
    await bench.restart(async () => {
      process.kill(await supervisor(bench), SIGKILL);
      await until('both are reaped', () => isGone(task.pid) && isGone(exec.pid));
    });
    assert.equal(await task.wait(), 48);
    assert.equal(await keep.wait('e'), 49);
    await task.delete();
    await keep.end();
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
  });

  it('at task.start: the next one knows that the container was started', async () => {
    await using bench = await open();
    const task = await withFailpoints('task.start=kill', () => bench.create('sleep 600'));
    await rejects('UNAVAILABLE', task.start());
    await until('it is known again', async () => (await task.status()) === 'running');
    await task.end();
  });

  for (const [point, skipped] of [
    ['exit.reap', tooOld],
    ['exit.persist', tooOld],
    // From here on the status is in the record and nowhere else: reaped, and pinned no more.
    ['exit.publish', false],
  ] as const) {
    it(`at ${point}: the exit is told once, with its true status`, { skip: skipped }, async () => {
      await using bench = await open();
      // Orphans of the supervisor become children of this process, which reaps them as init would: nobody holds them.
      becomeSubreaper();
      const task = await withFailpoints(`${point}=kill`, () => bench.create(`${UNTIL_GO}; exit 43`));
      const keep = await bench.run('sleep 600');
      await task.start();
      const first = await supervisor(bench);
      await writeFile(join(bench.work, 'busybox/go'), '');
      await until('the supervisor is gone', () => !isRunning(first));
      await until('the process is reaped', () => isGone(task.pid));
      assert.equal(await task.wait(), 43);
      assert.equal(await task.delete(), 43);
      assert.equal(await keep.status(), 'running');
      await keep.end();
      assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
      assert.deepEqual(
        bench.exits(task.id).map(({ exitStatus }) => exitStatus),
        [43],
      );
    });
  }

  it('during a delete: the exits of all processes are told', async () => {
    await using bench = await open({ eventGrace: 3000 });
    const keep = await bench.run('sleep 600');
    const task = await bench.run('sleep 600');
    // So that nobody has heard of any exit by the time of the delete.
    await bench.restart();
    await task.exec('e', 'exit 5');
    await task.start('e');
    assert.equal(await task.wait('e'), 5);
    await task.kill(SIGKILL);
    await task.wait();
    await killAtRename(await supervisor(bench), 2, () => rejects('UNAVAILABLE', task.delete()));
    await until('both exits', async () => {
      const topics = await bench.topics(task.id, 0);
      return topics.filter((topic) => topic === 'exit').length === 2;
    });
    assert.equal(await task.delete(), 128 + SIGKILL);
    await keep.end();
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

function isGone(pid: number): boolean {
  reap(pid);
  return readStat(pid) === undefined;
}

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
    assert.equal(existsSync(groupDirectory(`/${NAMESPACE}/${id}`, 'pids')), false);
    const again = await bench.create('exit 2', {}, id);
    await again.start();
    assert.equal(await again.wait(), 2);
    await again.delete();
  });
});

describe('a container', { skip }, () => {
  it('is started and removed without its runtime, unless it has hooks to be run then', async () => {
    await using bench = await open();
    const log = join(bench.work, 'calls');
    const runc = join(bench.work, 'runc');
    await writeFile(runc, `#!/bin/sh\necho "$*" >>${log}\nexec /usr/sbin/runc "$@"\n`);
    await chmod(runc, 0o755);
    const mark = (name: string): string => join(bench.work, name);
    const withHook = (name: string): Change => {
      const hook = { path: '/bin/touch', args: ['touch', mark(name)] };
      return (spec) => Object.assign({}, spec, { hooks: { [name]: [hook] } });
    };
    for (const [changes, expected] of [
      [[], ['create']],
      [[withHook('poststart')], ['create', 'start']],
      [[withHook('poststop')], ['create', 'delete']],
    ] as const) {
      await writeFile(log, '');
      const id = bench.freshId();
      const request = { ...bench.request(id, 'exit 4', { changes }), options: options(runc) };
      await bench.runtime.create(scope, request);
      await bench.runtime.start(scope, { id });
      await bench.runtime.wait(scope, { id });
      assert.equal((await bench.runtime.delete(scope, { id })).exitStatus, 4);
      const calls = [...(await readFile(log, 'utf8')).matchAll(/^--root .* (create|start|delete) /gm)];
      assert.deepEqual(
        calls.map(([, command]) => command),
        expected,
      );
      assert.equal(existsSync(groupDirectory(`/${NAMESPACE}/${id}`, 'pids')), false);
      assert.deepEqual(readdirSync(join(bench.work, 'subject/.runtime', NAMESPACE)), []);
    }
    assert.deepEqual([existsSync(mark('poststart')), existsSync(mark('poststop'))], [true, true]);
  });
});

/** Resolves at the first event of that topic, while it is still being handed over. */
function listeningFor(topic: string): { subject: RuntimeSubject; heard: Promise<void> } {
  const { promise: heard, resolve } = Promise.withResolvers<void>();
  const inner = runcSubject();
  const listening = (events: Events): Events => ({
    publish: (...event) => events.publish(...event),
    subscribe: (...what) => events.subscribe(...what),
    forward(envelope) {
      events.forward(envelope);
      if (envelope.topic === topic) resolve();
    },
  });
  return { heard, subject: { ...inner, open: (directory, events) => inner.open(directory, listening(events)) } };
}

describe('events', { skip }, () => {
  it('are told once, also when the daemon ends right after it was told of them', async () => {
    const { subject, heard } = listeningFor('/tasks/exit');
    await using bench = await Workbench.open(subject);
    const restarted = heard.then(() => bench.restart());
    const task = await bench.run('sleep 600');
    await task.kill(SIGKILL);
    await inTime('the restart', restarted);
    assert.equal(await task.delete(), 128 + SIGKILL);
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
  });

  it('are told before a supervisor ends that nobody needs any more', async () => {
    await using bench = await open({ idle: 100, eventGrace: 1500 });
    const task = await bench.run('exit 7');
    await bench.restart(() => until('it has ended', () => !isRunning(task.pid)));
    assert.equal(await task.delete(), 7);
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
    await until('no supervisor', async () => (await supervisorsBelow(bench.work)).length === 0);
  });

  it('wait for the next daemon when one ends before it may tell them', async () => {
    await using bench = await open({ idle: 100, eventGrace: 1000 });
    const task = await bench.run('exit 8');
    await bench.restart(() => until('it has ended', () => !isRunning(task.pid)));
    assert.equal(await task.delete(), 8);
    await bench.restart();
    assert.deepEqual(await bench.topics(task.id, 4), ['create', 'start', 'exit', 'delete']);
    await until('no supervisor', async () => (await supervisorsBelow(bench.work)).length === 0);
  });

  it('of a supervisor that is killed without tasks are told by another, which then ends', async () => {
    await using bench = await open({ idle: 100, eventGrace: 1000 });
    const task = await bench.run('exit 9');
    await bench.restart(() => until('it has ended', () => !isRunning(task.pid)));
    assert.equal(await task.delete(), 9);
    process.kill(await supervisor(bench), SIGKILL);
    assert.deepEqual((await bench.topics(task.id, 3)).slice(0, 3), ['create', 'start', 'exit']);
    await until('no supervisor', async () => (await supervisorsBelow(bench.work)).length === 0);
  });

  it('do not hold up the end of a daemon whose supervisor does not answer', async () => {
    const { subject, heard } = listeningFor('/tasks/exit');
    await using bench = await Workbench.open(subject);
    const task = await bench.run('sleep 600');
    const pid = await supervisor(bench);
    const begun = Promise.withResolvers<number>();
    const restarted = heard.then(() => {
      process.kill(pid, 'SIGSTOP');
      const begin = performance.now();
      return bench.restart(async () => begun.resolve(performance.now() - begin));
    });
    await task.kill(SIGKILL);
    assert.ok((await inTime('the end', begun.promise)) < 2000);
    process.kill(pid, 'SIGCONT');
    await inTime('the restart', restarted);
    assert.equal(await task.delete(), 128 + SIGKILL);
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

  it('are kept as long as they have a task, however many others come and go', async () => {
    await using bench = await open({ idle: 50 });
    const keep = await bench.run('sleep 600');
    const pid = await supervisor(bench);
    for (let round = 0; round < 10; round++) {
      const tasks = await Promise.all(Array.from({ length: 4 }, () => bench.run('exit 3')));
      await Promise.all(tasks.map(async (task) => [await task.wait(), await task.delete()]));
      assert.equal(await keep.status(), 'running');
    }
    // Longer than it would be kept without one.
    const last = await bench.run('sleep 0.5; exit 4');
    assert.equal(await last.wait(), 4);
    await last.delete();
    assert.equal(await keep.status(), 'running');
    assert.deepEqual(await supervisorsBelow(bench.work), [pid]);
    await keep.end();
    await until('no supervisor', async () => (await supervisorsBelow(bench.work)).length === 0);
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
    assert.deepEqual(files.sort(), ['group', 'lock', 'log', 's']);
    await keep.end();
  });
});
