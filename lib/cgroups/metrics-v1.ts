/** Resource use of a group, version 1; the fields are those of `io.containerd.cgroups.v1.Metrics`. */
import { listNames, parseCount, readCount, readRows, readTable, readText } from './files.js';
import type { ControlGroup } from './group.js';

/** Nanoseconds of a clock tick (USER_HZ is 100 everywhere, proc_stat(5)). */
const TICK = 10_000_000n;

function cpu(group: ControlGroup) {
  const accounting = group.directory('cpuacct');
  const total = readCount(accounting, 'cpuacct.usage');
  if (total === undefined) return undefined;
  const times = readTable(accounting, 'cpuacct.stat');
  const throttling = readTable(group.directory('cpu'), 'cpu.stat');
  return {
    usage: {
      total,
      user: (times?.get('user') ?? 0n) * TICK,
      kernel: (times?.get('system') ?? 0n) * TICK,
      perCpu: (readRows(accounting, 'cpuacct.usage_percpu')[0] ?? []).map(parseCount),
    },
    throttling: {
      periods: throttling?.get('nr_periods') ?? 0n,
      throttledPeriods: throttling?.get('nr_throttled') ?? 0n,
      throttledTime: throttling?.get('throttled_time') ?? 0n,
    },
  };
}

/** Memory of one kind: `memory`, `memory.memsw`, `memory.kmem`, `memory.kmem.tcp`. */
function memoryEntry(directory: string, kind: string) {
  const usage = readCount(directory, `${kind}.usage_in_bytes`);
  if (usage === undefined) return undefined;
  return {
    usage,
    limit: readCount(directory, `${kind}.limit_in_bytes`) ?? 0n,
    max: readCount(directory, `${kind}.max_usage_in_bytes`) ?? 0n,
    failcnt: readCount(directory, `${kind}.failcnt`) ?? 0n,
  };
}

function memory(directory: string | undefined) {
  const stat = readTable(directory, 'memory.stat');
  if (directory === undefined || stat === undefined) return undefined;
  const value = (key: string): bigint => stat.get(key) ?? 0n;
  return {
    cache: value('cache'),
    rss: value('rss'),
    rssHuge: value('rss_huge'),
    mappedFile: value('mapped_file'),
    dirty: value('dirty'),
    writeback: value('writeback'),
    pgPgIn: value('pgpgin'),
    pgPgOut: value('pgpgout'),
    pgFault: value('pgfault'),
    pgMajFault: value('pgmajfault'),
    inactiveAnon: value('inactive_anon'),
    activeAnon: value('active_anon'),
    inactiveFile: value('inactive_file'),
    activeFile: value('active_file'),
    unevictable: value('unevictable'),
    hierarchicalMemoryLimit: value('hierarchical_memory_limit'),
    hierarchicalSwapLimit: value('hierarchical_memsw_limit'),
    totalCache: value('total_cache'),
    totalRss: value('total_rss'),
    totalRssHuge: value('total_rss_huge'),
    totalMappedFile: value('total_mapped_file'),
    totalDirty: value('total_dirty'),
    totalWriteback: value('total_writeback'),
    totalPgPgIn: value('total_pgpgin'),
    totalPgPgOut: value('total_pgpgout'),
    totalPgFault: value('total_pgfault'),
    totalPgMajFault: value('total_pgmajfault'),
    totalInactiveAnon: value('total_inactive_anon'),
    totalActiveAnon: value('total_active_anon'),
    totalInactiveFile: value('total_inactive_file'),
    totalActiveFile: value('total_active_file'),
    totalUnevictable: value('total_unevictable'),
    usage: memoryEntry(directory, 'memory'),
    swap: memoryEntry(directory, 'memory.memsw'),
    kernel: memoryEntry(directory, 'memory.kmem'),
    kernelTcp: memoryEntry(directory, 'memory.kmem.tcp'),
  };
}

function oomControl(directory: string | undefined) {
  const table = readTable(directory, 'memory.oom_control');
  return (
    table && {
      oomKillDisable: table.get('oom_kill_disable') ?? 0n,
      underOom: table.get('under_oom') ?? 0n,
      oomKill: table.get('oom_kill') ?? 0n,
    }
  );
}

/** Lines `major:minor operation value`. */
function blockEntries(directory: string | undefined, ...files: readonly string[]) {
  const file = files.find((name) => readText(directory, name));
  if (file === undefined) return [];
  return readRows(directory, file).flatMap(([device = '', op = '', value = '']) => {
    const [major, minor] = device.split(':');
    if (major === undefined || minor === undefined || value === '') return [];
    return [{ op, device: '', major: parseCount(major), minor: parseCount(minor), value: parseCount(value) }];
  });
}

function block(directory: string | undefined) {
  if (directory === undefined) return undefined;
  return {
    ioServiceBytesRecursive: blockEntries(
      directory,
      'blkio.bfq.io_service_bytes_recursive',
      'blkio.throttle.io_service_bytes_recursive',
    ),
    ioServicedRecursive: blockEntries(
      directory,
      'blkio.bfq.io_serviced_recursive',
      'blkio.throttle.io_serviced_recursive',
    ),
  };
}

function hugePages(directory: string | undefined) {
  const suffix = '.usage_in_bytes';
  const sizes = listNames(directory).flatMap((name) => {
    const size = name.startsWith('hugetlb.') && name.endsWith(suffix) ? name.slice(8, -suffix.length) : '';
    return size === '' || size.endsWith('rsvd') ? [] : [size];
  });
  return sizes.map((pagesize) => ({
    pagesize,
    usage: readCount(directory, `hugetlb.${pagesize}.usage_in_bytes`) ?? 0n,
    max: readCount(directory, `hugetlb.${pagesize}.max_usage_in_bytes`) ?? 0n,
    failcnt: readCount(directory, `hugetlb.${pagesize}.failcnt`) ?? 0n,
  }));
}

/** What is not accounted on this host is left out. */
export function readMetricsV1(group: ControlGroup) {
  const pids = readCount(group.directory('pids'), 'pids.current');
  const limit = readText(group.directory('pids'), 'pids.max');
  const memoryDirectory = group.directory('memory');
  return {
    hugetlb: hugePages(group.directory('hugetlb')),
    // No limit is told as 0.
    pids: pids === undefined ? undefined : { current: pids, limit: limit === 'max' ? 0n : parseCount(limit ?? '0') },
    cpu: cpu(group),
    memory: memory(memoryDirectory),
    memoryOomControl: oomControl(memoryDirectory),
    blkio: block(group.directory('blkio')),
  };
}
