/** Faults around running containers: numbers are those of docs/reliability.md. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { mountsWithin } from '../../lib/linux/mount.js';
import { ProcessHandle } from '../../lib/linux/pidfd.js';
import { readStat } from '../../lib/linux/proc.js';
import { becomeSubreaper, reap, spawn } from '../../lib/linux/process.js';
import { withArgs } from '../../lib/oci/runtime-spec.js';
import { Reader } from '../../test/conformance/container.js';
import { inTime, rejects, scope, until, Workbench } from '../../test/conformance/runtime.workbench.js';
import { Background, succeed } from '../../test/harness/command.js';
import { LimitedGroup } from '../../test/harness/limited-group.js';
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

/** Children of this process that have ended, and that nobody has reaped. */
async function deadChildren(): Promise<readonly string[]> {
  const children = await succeed('ps', ['--ppid', String(process.pid), '-o', 'stat=,pid=,args=']);
  return children.split('\n').filter((line) => line.startsWith('Z'));
}

/** A file that is missing makes the named command of the runtime hang. */
async function hangingRunc(bench: Workbench, command: string): Promise<{ binary: string; release: () => void }> {
  const path = join(bench.work, 'hanging-runc');
  const free = join(bench.work, 'free');
  await writeFile(
    path,
    `#!/bin/sh\ncase "$*" in *" ${command} "*) [ -e ${free} ] || exec sleep 600;; esac\nexec runc "$@"\n`,
  );
  await chmod(path, 0o755);
  return { binary: path, release: () => writeFileSync(free, '') };
}

const options = (binary: string) => {
  const name = Buffer.from(binary);
  return { typeUrl: 'containerd.runc.v1.Options', value: Buffer.concat([Buffer.from([0x32, name.length]), name]) };
};

describe('faults of the host', { skip }, () => {
  it('16: a socket that is removed is there again, and found by the next daemon', async () => {
    await using bench = await open();
    const task = await bench.run('sleep 600');
    const pid = await supervisor(bench);
    const [name = ''] = readdirSync(join(bench.work, 'subject/.s'));
    const socket = join(bench.work, 'subject/.s', name, 's');
    await bench.restart(async () => rmSync(socket));
    await until('the task is managed', async () => (await task.status()) === 'running');
    assert.deepEqual(await supervisorsBelow(bench.work), [pid]);
    assert.deepEqual(await deadChildren(), [], 'supervisors that did not come up beside it are gone for good');
    await task.end();
  });

  it('16: a stale socket is replaced', async () => {
    await using bench = await open();
    const task = await bench.run('sleep 600');
    const [name = ''] = readdirSync(join(bench.work, 'subject/.s'));
    const pid = await supervisor(bench);
    await bench.restart(async () => {
      process.kill(pid, SIGKILL);
      assert.equal(existsSync(join(bench.work, 'subject/.s', name, 's')), true);
    });
    assert.equal(await task.status(), 'running');
    await task.end();
  });

  it('18: a delete that hangs ends at its deadline; others go on; a second one succeeds', async () => {
    await using bench = await open({ deadline: 700 });
    const { binary, release } = await hangingRunc(bench, 'delete');
    const id = bench.freshId();
    await bench.runtime.create(scope, { ...bench.request(id, 'exit 3'), options: options(binary) });
    await bench.runtime.start(scope, { id });
    await inTime('the exit', bench.runtime.wait(scope, { id }));
    const hung = rejects('DEADLINE_EXCEEDED', bench.runtime.delete(scope, { id }));
    assert.equal((await bench.output('echo fine')).stdout, 'fine\n');
    await inTime('the hung delete', hung, 5000);
    release();
    assert.equal((await bench.runtime.delete(scope, { id })).exitStatus, 3);
  });

  it('18: a kill of all that hangs ends at its deadline; a plain kill still works', async () => {
    await using bench = await open({ deadline: 700 });
    const { binary, release } = await hangingRunc(bench, 'kill');
    const id = bench.freshId();
    await bench.runtime.create(scope, { ...bench.request(id, 'sleep 600'), options: options(binary) });
    await bench.runtime.start(scope, { id });
    await rejects('DEADLINE_EXCEEDED', bench.runtime.kill(scope, { id }, SIGKILL, true));
    release();
    await bench.runtime.kill(scope, { id }, SIGKILL);
    assert.equal((await inTime('the exit', bench.runtime.wait(scope, { id }))).exitStatus, 137);
    await bench.runtime.delete(scope, { id });
  });

  it('18: an unmount that hangs holds up its own delete, and nothing else', async () => {
    await using bench = await open();
    const task = await bench.run('exit 3');
    assert.equal(await task.wait(), 3);
    const keep = await bench.run('sleep 600');
    const pid = String(await supervisor(bench));
    const rootfs = join(bench.work, 'subject', scope.namespace, task.id, 'rootfs');
    // Longer than anything here takes; it is over when strace lets go.
    const hang = ['-e', 'trace=umount2', '-e', 'inject=umount2:delay_enter=100000000', '-P', rootfs];
    await using strace = new Background('strace', ['-f', '-p', pid, ...hang]);
    await strace.stderr.until(new RegExp(`Process ${pid} attached`));
    let isDeleted = false;
    const deleting = task.delete().finally(() => {
      isDeleted = true;
    });
    await strace.stderr.until(/umount2\(/);
    assert.equal((await bench.output('echo fine')).stdout, 'fine\n');
    assert.equal(await keep.status(), 'running');
    await keep.exec('e', 'exit 6');
    await keep.start('e');
    assert.equal(await keep.wait('e'), 6);
    await inTime('the end of another', keep.end());
    assert.equal(isDeleted, false);
    await strace.stop('SIGINT');
    assert.equal(await inTime('the delete', deleting), 3);
    assert.deepEqual(mountsWithin(bench.work), []);
    assert.deepEqual(bench.runtime.tasks(scope.namespace), []);
  });

  it('36: a full log disk does not hold up the container, and the log goes on when there is room', async () => {
    await using bench = await open();
    const disk = join(bench.work, 'disk');
    await mkdir(disk);
    await succeed('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'small', disk]);
    try {
      writeFileSync(join(disk, 'ballast'), Buffer.alloc(60 << 10));
      const log = join(disk, 'log');
      const streams = { terminal: false, stdin: '', stdout: `file://${log}`, stderr: '' };
      const script =
        'i=0; while [ $i -lt 4000 ]; do echo line $i 2>/dev/null; i=$((i+1)); done; touch /full; while [ ! -e /go ]; do usleep 5000; done; echo after; exit 4';
      const task = await bench.run(script, { streams });
      await until('the disk is full and the container goes on', () => existsSync(join(bench.work, 'busybox/full')));
      rmSync(join(disk, 'ballast'));
      writeFileSync(join(bench.work, 'busybox/go'), '');
      assert.equal(await task.wait(), 4);
      assert.match(readFileSync(log, 'utf8'), /after\n$/);
      await task.delete();
    } finally {
      await succeed('umount', [disk]);
    }
  });

  it('38: few descriptors: RESOURCE_EXHAUSTED for each call, nothing left, and it recovers', async () => {
    await using bench = await open();
    const keep = await bench.run('sleep 600');
    const pid = await supervisor(bench);
    const count = (): number => readdirSync(`/proc/${pid}/fd`).length;
    const before = count();
    await succeed('prlimit', ['--pid', String(pid), `--nofile=${before + 2}:`]);
    for (let i = 0; i < 5; i++) {
      const { output } = await bench.fifos();
      await rejects('RESOURCE_EXHAUSTED', bench.create('true', { streams: output }));
    }
    assert.deepEqual(bench.runtime.tasks(scope.namespace), [keep.id]);
    await succeed('prlimit', ['--pid', String(pid), '--nofile=1024:']);
    assert.equal((await bench.output('echo again')).stdout, 'again\n');
    await until('no descriptor is left', () => count() <= before);
    await keep.end();
  });

  it('39: few processes: RESOURCE_EXHAUSTED for each call, nothing left, and it recovers', async () => {
    await using bench = await open();
    const keep = await bench.run('sleep 600');
    const pid = await supervisor(bench);
    await using group = new LimitedGroup('pids', 1);
    await group.around(pid, async () => {
      for (let i = 0; i < 3; i++) await rejects('RESOURCE_EXHAUSTED', bench.create('true'));
      assert.deepEqual(bench.runtime.tasks(scope.namespace), [keep.id]);
      group.limit('max');
      assert.equal((await bench.output('echo again')).stdout, 'again\n');
      assert.equal(await supervisor(bench), pid);
    });
    await keep.end();
  });

  it('40: when memory is short, a supervisor is killed before the daemon that started it', async () => {
    await using bench = await open();
    const keep = await bench.run('sleep 600');
    const scoreOf = (pid: number): number => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
    assert.equal(scoreOf(await supervisor(bench)), scoreOf(process.pid) + 1);
    await keep.end();
  });

  it('49: a process id that is reused is not mistaken for the process it was', async () => {
    await using bench = await open();
    becomeSubreaper();
    const task = await bench.run('sleep 600');
    let stranger: ProcessHandle | undefined;
    await bench.restart(async () => {
      process.kill(await supervisor(bench), SIGKILL);
      process.kill(task.pid, SIGKILL);
      await until('it is reaped', () => {
        reap(task.pid);
        return readStat(task.pid) === undefined;
      });
      stranger = reuse(task.pid);
    });
    assert.ok(stranger, 'the number was given again');
    assert.equal(await task.wait(), 137);
    await rejects('NOT_FOUND', task.kill(SIGKILL));
    await task.delete();
    assert.equal(stranger.alive(), true);
    stranger.signal(SIGKILL);
    stranger.close();
  });

  it('77: a container that writes to whatever program enters it changes none of ours', async () => {
    await using bench = await open();
    const programs = ['/usr/sbin/runc', process.execPath, '/usr/bin/busybox'];
    const digests = (): string[] =>
      programs.map((path) => createHash('sha256').update(readFileSync(path)).digest('hex'));
    const before = digests();
    symlinkSync('/proc/self/exe', join(bench.work, 'busybox/itself'));
    const itself = await bench.run('true', { changes: [withArgs(['/itself', '--version'])] });
    await itself.wait();
    await itself.delete();
    const script = 'while :; do for exe in /proc/[0-9]*/exe /proc/self/exe; do echo x >$exe; done; done 2>/dev/null';
    const attacker = await bench.run(script);
    for (let i = 0; i < 5; i++) {
      await attacker.exec(`e${i}`, 'exit 6');
      await attacker.start(`e${i}`);
      assert.equal(await attacker.wait(`e${i}`), 6);
      await attacker.delete(`e${i}`);
    }
    await attacker.end();
    assert.deepEqual(digests(), before);
  });

  it('81: a child that keeps the output open does not hold up exit, delete, or the end of output', async () => {
    await using bench = await open();
    const fifos = await bench.fifos();
    const reader = new Reader(fifos.stdout);
    const task = await bench.run('sleep 600 & echo done; exit 5', { streams: fifos.output });
    const begun = performance.now();
    assert.equal(await task.wait(), 5);
    assert.ok(performance.now() - begun < 1000);
    await inTime('the delete', task.delete(), 10_000);
    assert.equal(await inTime('end of output', reader.all(), 1000), 'done\n');
  });
});

/** A process that has that number; undefined when others were always quicker. */
function reuse(pid: number): ProcessHandle | undefined {
  const nothing = openSync('/dev/null', 'r+');
  try {
    for (let attempt = 0; attempt < 50; attempt++) {
      writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
      const made = spawn({ path: '/bin/sleep', args: ['600'], env: {}, files: [nothing, nothing, nothing] });
      const handle = new ProcessHandle(made);
      if (made === pid) return handle;
      handle.signal(SIGKILL);
      handle.close();
    }
    return undefined;
  } finally {
    closeSync(nothing);
  }
}
