/** What the options of our own `ctr run` do to a container, and how a terminal and signals get to it; then `shim` without a daemon. */
import assert from 'node:assert/strict';
import { existsSync, readlinkSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { launcherPath } from '../../lib/program.js';
import { Ctr, eventually, type Outcome, run } from '../harness/index.js';
import { startWorld } from './world.js';

const { daemon, image, own, pulled } = await startWorld(['busybox'], { kind: 'keelsond' });
const namespace = own('own-ctr');
await pulled(namespace, 'native', 'busybox');
const ctr = new Ctr({ address: daemon.address, namespace, program: launcherPath('ctr') });
const flags = ['--snapshotter', 'native', '--fifo-dir', join(daemon.directory, 'fifo')];

let made = 0;
/** Runs a script in a container of its own; what it printed, and its exit code. */
const shell = (script: string, ...options: readonly string[]): Promise<Outcome> =>
  ctr.run(['run', '--rm', ...flags, ...options, image.busybox, `o${made++}`, 'sh', '-c', script]);

async function said(script: string, ...options: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await shell(script, ...options);
  assert.equal(code, 0, stderr);
  return stdout.trimEnd();
}

/** A setting of a container's control group, version 1 or 2. */
async function setting(id: string, controller: string, v1: string, v2: string): Promise<string> {
  const old = `/sys/fs/cgroup/${controller}/${namespace}/${id}/${v1}`;
  return (await readFile(existsSync(old) ? old : `/sys/fs/cgroup/${namespace}/${id}/${v2}`, 'utf8')).trim();
}

const STATUS = "sed -n 's/^\\(Seccomp\\|NoNewPrivs\\|CapEff\\):\\s*/\\1=/p' /proc/self/status";

describe('ctr run', () => {
  test('filters calls and privileges by default, less with --no-seccomp and --allow-new-privs', async () => {
    const facts = async (...options: string[]): Promise<string[]> => (await said(STATUS, ...options)).split('\n');
    const [capabilities = '', privileges, seccomp] = await facts();
    assert.deepEqual([privileges, seccomp], ['NoNewPrivs=1', 'Seccomp=2']);
    assert.deepEqual(await facts('--no-seccomp', '--allow-new-privs'), [capabilities, 'NoNewPrivs=0', 'Seccomp=0']);
    assert.deepEqual(await facts('--seccomp'), [capabilities, 'NoNewPrivs=1', 'Seccomp=2']);
    const [without] = await facts('--cap-drop', 'CAP_CHOWN', '--cap-add', 'CAP_SYS_TIME');
    const bits = (text: string): bigint => BigInt(text.replace('CapEff=', '0x'));
    assert.equal(bits(without ?? ''), (bits(capabilities) & ~1n) | (1n << 25n));
  });

  test('a working directory that is a descriptor of the runtime does not lead out, and no such descriptor is left', async () => {
    const numbers = Array.from({ length: 10 }, (_, index) => index + 3);
    const outcomes = await Promise.all(numbers.map((fd) => shell('true', '--cwd', `/proc/self/fd/${fd}`)));
    for (const [index, { code, stderr }] of outcomes.entries())
      assert.notEqual(code, 0, `descriptor ${numbers[index]}: it started; ${stderr}`);
    // The last is the directory that is being listed.
    assert.deepEqual((await said('exec ls /proc/self/fd')).split('\n'), ['0', '1', '2', '3']);
  });

  test("--seccomp-profile filters by a profile of one's own, or says what is wrong with it", async () => {
    const profile = join(daemon.directory, 'profile.json');
    const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' };
    await writeFile(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
    assert.equal(await said('mkdir /new 2>/dev/null || echo refused', '--seccomp-profile', profile), 'refused');
    await writeFile(profile, '{}');
    const { code, stderr } = await shell('true', '--seccomp-profile', profile);
    assert.notEqual(code, 0);
    assert.match(stderr, /seccomp profile .*defaultAction/s);
  });

  test('--privileged has the capabilities and devices of the host, and no filter', async () => {
    const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1];
    const facts = (await said(`${STATUS}; ls /dev; [ -w /sys ] && echo writable`, '--privileged')).split('\n');
    assert.deepEqual(facts.slice(0, 3), [`CapEff=${bounding}`, 'NoNewPrivs=0', 'Seccomp=0']);
    assert.ok(facts.includes('kmsg') && facts.includes('writable'));
  });

  test('--net-host shares the network', async () => {
    const [host, mine] = [readlinkSync('/proc/self/ns/net'), 'readlink /proc/self/ns/net'];
    assert.equal(await said(mine, '--net-host'), host);
    assert.notEqual(await said(mine), host);
  });

  test('--read-only and --mount', async () => {
    const shared = join(daemon.directory, 'shared');
    await mkdir(shared, { recursive: true });
    await writeFile(join(shared, 'file'), 'host');
    const script = 'cat /shared/file; echo x >/x || echo root; echo x >/shared/x || echo shared';
    const mount = ['--mount', `type=bind,src=${shared},dst=/shared,options=rbind:ro`];
    assert.equal((await shell(script, '--read-only', ...mount)).stdout, 'hostroot\nshared\n');
    assert.equal(await said('echo x >/x && cat /x'), 'x');
  });

  test('--env, --env-file, --user, --cwd, --label and --annotation', async () => {
    const file = join(daemon.directory, 'environment');
    await writeFile(file, '# of the file\nB=2\n');
    const options = ['--env', 'A=1 2', '--env-file', file, '--user', 'alice', '--cwd', '/tmp'];
    assert.equal(await said('echo "$A|$B|$(id -u)|$(pwd)"', ...options), '1 2|2|1000|/tmp');
    const told = ['--label', 'l=1', '--annotation', 'a.b=c'];
    await ctr.ok('run', '-d', ...flags, ...told, image.busybox, 'told', 'sleep', '600');
    assert.match(await ctr.ok('info', 'told'), /"l": "1"/);
    const bundle = join(daemon.state, 'io.containerd.runtime.v2.task', namespace, 'told');
    assert.match(await readFile(join(bundle, 'config.json'), 'utf8'), /"a\.b":"c"/);
    await ctr.ok('delete', '--force', 'told');
  });

  test('--memory-limit, --cpus, --cpu-shares and --pids are those of the control group', async () => {
    const limits = ['--memory-limit', '64m', '--cpus', '1.5', '--cpu-shares', '512', '--pids', '77'];
    await ctr.ok('run', '-d', ...flags, ...limits, image.busybox, 'limited', 'sleep', '600');
    assert.equal(await setting('limited', 'memory', 'memory.limit_in_bytes', 'memory.max'), `${64 << 20}`);
    assert.match(await setting('limited', 'cpu', 'cpu.cfs_quota_us', 'cpu.max'), /^150000/);
    assert.match(await setting('limited', 'cpu', 'cpu.shares', 'cpu.weight'), /^(512|20)$/);
    assert.equal(await setting('limited', 'pids', 'pids.max', 'pids.max'), '77');
    await ctr.ok('delete', '--force', 'limited');
  });

  test('signals that reach it reach the process, and its exit code comes back', async () => {
    const script = 'trap "echo usr1" USR1; trap "exit 21" TERM; echo ready; while :; do sleep 0.05; done';
    const running = ctr.start('run', '--rm', ...flags, image.busybox, 'signalled', 'sh', '-c', script);
    await running.stdout.until(/ready/);
    process.kill(running.pid, 'SIGUSR1');
    await running.stdout.until(/usr1/);
    process.kill(running.pid, 'SIGTERM');
    assert.equal((await running.end()).code, 21);
    assert.equal(await ctr.ok('containers', '--quiet'), '');
  });

  test('keys leave a terminal, attach comes back to it', async () => {
    const script = 'i=0; while read line; do i=$((i+1)); echo "line $i: $line"; done; exit 8';
    const args = ['run', '-t', ...flags, '--id', 'term', image.busybox, 'sh', '-c', script];
    const first = ctr.startInTerminal(...args);
    await eventually('it runs', async () => /term .*RUNNING/.test(await ctr.ok('list')) || undefined);
    first.write('one\n');
    await first.stdout.until(/line 1: one/);
    first.write('\x10\x11');
    assert.equal((await first.end()).code, 0);
    assert.match(await ctr.ok('list'), /^term +\d+ +RUNNING$/m);

    const second = ctr.startInTerminal('attach', '--detach-keys', 'ctrl-a,d', 'term');
    await eventually('it is heard', async () => {
      second.write('two\n');
      return /line \d+: two/.test(second.stdout.text) || undefined;
    });
    second.write('\x01d');
    assert.equal((await second.end()).code, 0);

    const third = ctr.startInTerminal('attach', 'term');
    await eventually('it is heard again', async () => {
      third.write('three\n');
      return /line \d+: three/.test(third.stdout.text) || undefined;
    });
    third.write('\x04');
    assert.equal((await third.end()).code, 8);
    await ctr.ok('delete', 'term');
  });

  test('options that make no sense are refused before anything is made', async () => {
    for (const [option, value, complaint] of [
      ['--memory-limit', '1x', /expected bytes/],
      ['--cpus', '0', /above 0/],
      ['--cap-add', 'CAP_NOTHING', /unknown capability/],
      ['--mount', 'src=/a', /no dst/],
      ['--user', 'nobody-of-that-name', /nobody-of-that-name/],
      ['--detach-keys', 'ctrl-p,F12', /unknown key/],
    ] as const) {
      assert.match((await shell('true', '-t', option, value)).stderr, complaint, option);
    }
    assert.equal(await ctr.ok('containers', '--quiet'), '');
  });
});

describe('shim, with the daemon stopped,', () => {
  const shim = async (...args: readonly string[]): Promise<Outcome> =>
    run(launcherPath('shim'), ['--state', daemon.state, '--namespace', namespace, ...args]);
  const did = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await shim(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  after(async () => {
    await daemon.start();
    // The stock shim leaves it by habit.
    await rm(join('/run/containerd/runc', namespace), { recursive: true, force: true });
  });

  test('serves what the daemon has made: supervisors and stock shims alike', async () => {
    const runtimes = { ours: 'io.containerd.runc.v2', stock: '/usr/bin/containerd-shim-runc-v2' };
    const script = 'trap "exit 6" TERM; while :; do sleep 0.05; done';
    const shells = ['sh', '-c', script];
    for (const [id, runtime] of Object.entries(runtimes)) {
      await ctr.ok('run', '-d', '--null-io', ...flags, '--runtime', runtime, image.busybox, id, ...shells);
    }
    await daemon.stop();
    for (const id of Object.keys(runtimes)) {
      assert.match(await did('state', id), /RUNNING/, id);
      await did('pause', id);
      assert.match(await did('state', id), /PAUSED/);
      await did('resume', id);
      const fifo = ['--fifo-dir', join(daemon.directory, `shim-${id}`)];
      const executed = await shim('exec', ...fifo, id, 'sh', '-c', 'echo in; exit 9');
      assert.deepEqual([executed.code, executed.stdout], [9, 'in\n']);
      assert.match(await did('ps', id), /^\d+/m);
      await did('kill', id);
      assert.equal((await shim('wait', id)).code, 6);
    }
    await daemon.start();
    for (const id of Object.keys(runtimes)) {
      assert.match(await ctr.ok('list'), new RegExp(`^${id} +\\d+ +STOPPED$`, 'm'));
      await ctr.ok('delete', id);
    }
    await daemon.stop();
  });
});
