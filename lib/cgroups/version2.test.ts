/** Version 2 of control groups: what the kernel has written, recorded, and the tree that hybrid hosts have beside version 1. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { eventually } from '../../test/harness/eventually.js';
import { scratch } from '../../test/harness/scratch.js';
import { mountTable } from '../linux/mount-table.js';
import { ControlGroup } from './group.js';
import { readMetricsV2 } from './metrics-v2.js';
import { watchOom } from './oom.js';

const UINT64_MAX = 2n ** 64n - 1n;

/** Of a container of systemd's on Linux 6.1, shortened. */
const RECORDED = {
  'cgroup.freeze': '0\n',
  'cgroup.procs': '4242\n4243\n',
  'pids.current': '7\n',
  'pids.max': '100\n',
  'cpu.stat':
    'usage_usec 4215631\nuser_usec 3187000\nsystem_usec 1028631\nnr_periods 12\nnr_throttled 3\nthrottled_usec 90210\nnr_bursts 0\nburst_usec 0\n',
  'cpu.pressure':
    'some avg10=1.50 avg60=0.25 avg300=0.00 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n',
  'memory.current': '52428800\n',
  'memory.max': '67108864\n',
  'memory.peak': '60000000\n',
  'memory.swap.current': '0\n',
  'memory.swap.max': 'max\n',
  'memory.stat':
    'anon 10485760\nfile 33554432\nkernel_stack 65536\nsock 4096\nshmem 8192\nfile_mapped 16384\npgfault 5000\npgmajfault 12\nworkingset_refault_anon 3\nworkingset_refault_file 4\nslab 1234\n',
  'memory.events': 'low 0\nhigh 1\nmax 25\noom 2\noom_kill 1\noom_group_kill 0\n',
  'io.stat': '8:0 rbytes=1048576 wbytes=4096 rios=20 wios=1 dbytes=0 dios=0\n259:1 rbytes=7 wbytes=0 rios=1 wios=0\n',
  'hugetlb.2MB.current': '0\n',
  'hugetlb.2MB.max': 'max\n',
  'hugetlb.2MB.events': 'max 5\n',
  'hugetlb.2MB.rsvd.current': '0\n',
} as const;

async function recorded(files: Readonly<Record<string, string>> = RECORDED) {
  const directory = await scratch('cgroup');
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory.path, name), text);
  return { ...directory, group: ControlGroup.unified(directory.path) };
}

describe('recorded files of version 2', () => {
  it('are metrics, number by number', async () => {
    const { group, path } = await recorded();
    const { pids, cpu, memory, memoryEvents, io, hugetlb } = readMetricsV2(group);
    assert.deepEqual(pids, { current: 7n, limit: 100n });
    assert.deepEqual([cpu?.usageUsec, cpu?.userUsec, cpu?.nrThrottled], [4_215_631n, 3_187_000n, 3n]);
    assert.deepEqual(cpu?.psi?.some, { avg10: 1.5, avg60: 0.25, avg300: 0, total: 123_456n });
    assert.deepEqual([memory?.usage, memory?.usageLimit, memory?.maxUsage], [52_428_800n, 67_108_864n, 60_000_000n]);
    assert.deepEqual([memory?.anon, memory?.file, memory?.workingsetRefault], [10_485_760n, 33_554_432n, 7n]);
    assert.deepEqual([memory?.swapUsage, memory?.swapLimit], [0n, UINT64_MAX]);
    assert.deepEqual(memoryEvents, { low: 0n, high: 1n, max: 25n, oom: 2n, oomKill: 1n, oomGroupKill: 0n });
    assert.deepEqual(io.usage, [
      { major: 8n, minor: 0n, rbytes: 1_048_576n, wbytes: 4096n, rios: 20n, wios: 1n },
      { major: 259n, minor: 1n, rbytes: 7n, wbytes: 0n, rios: 1n, wios: 0n },
    ]);
    assert.deepEqual(hugetlb, [{ pagesize: '2MB', current: 0n, max: UINT64_MAX, failcnt: 5n }]);
    assert.deepEqual(group.processes(), [4242, 4243]);
    assert.equal(group.frozen(), false);
    writeFileSync(join(path, 'cgroup.freeze'), '1\n');
    assert.equal(group.frozen(), true);
  });

  it('may be missing: what is not accounted is left out', async () => {
    const { group } = await recorded({ 'cpu.stat': 'usage_usec 5\n' });
    const { pids, cpu, memory, io } = readMetricsV2(group);
    assert.deepEqual([pids, cpu?.usageUsec, cpu?.psi, memory, io.usage], [undefined, 5n, undefined, undefined, []]);
    assert.deepEqual(readMetricsV2(ControlGroup.unified(undefined)).pids, undefined);
    for (const unaccounted of [group, ControlGroup.unified(undefined)])
      assert.equal(
        watchOom(unaccounted, () => {}),
        undefined,
      );
  });

  it('tell a kill for want of memory, and nothing else', async () => {
    const { group, path } = await recorded();
    let told = 0;
    const watch = watchOom(group, () => told++);
    const events = (kills: number, high: number): void =>
      writeFileSync(join(path, 'memory.events'), `low 0\nhigh ${high}\nmax 25\noom 2\noom_kill ${kills}\n`);
    events(1, 2);
    events(2, 2);
    await eventually('it is told', () => told === 1 || undefined);
    events(2, 3);
    events(3, 3);
    await eventually('it is told again', () => told === 2 || undefined);
    events(4, 3);
    watch?.look();
    assert.equal(told, 3, 'without waiting for the kernel');
    events(5, 3);
    await eventually('what follows', () => told === 4 || undefined);
    watch?.close();
  });
});

const unified = mountTable().find(({ type }) => type === 'cgroup2')?.target;
const skip = unified === undefined ? 'needs a cgroup2 filesystem' : process.getuid?.() !== 0 && 'needs root';

describe('the hierarchy of version 2 on this host', { skip }, () => {
  it('has the processes of a group and its freezer, and the group can be removed', async () => {
    const directory = join(unified ?? '', `keelson-v2-${process.pid}`);
    mkdirSync(directory);
    const sleeper = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      const group = ControlGroup.unified(directory);
      assert.deepEqual(group.processes(), []);
      writeFileSync(join(directory, 'cgroup.procs'), `${sleeper.pid}`);
      assert.deepEqual(group.processes(), [sleeper.pid]);
      assert.equal(group.frozen(), false);
      writeFileSync(join(directory, 'cgroup.freeze'), '1');
      assert.equal(group.frozen(), true);
      writeFileSync(join(directory, 'cgroup.freeze'), '0');
      assert.ok((readMetricsV2(group).cpu?.usageUsec ?? -1n) >= 0n);
      group.remove();
      assert.equal(existsSync(directory), true);
      sleeper.kill('SIGKILL');
      await once(sleeper, 'exit');
      mkdirSync(join(directory, 'below', 'deeper'), { recursive: true });
      group.remove();
      assert.equal(existsSync(directory), false);
    } finally {
      sleeper.kill('SIGKILL');
      if (existsSync(directory)) rmdirSync(directory);
    }
  });
});
