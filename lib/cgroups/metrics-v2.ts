/** Resource use of a group, version 2; the fields are those of `io.containerd.cgroups.v2.Metrics`. */
import { listNames, parseCount, readCount, readRows, readTable, readText } from './files.js';
import type { ControlGroup } from './group.js';

/** Pressure stall information (the kernel's psi.rst): lines `some avg10=0.00 avg60=... total=...`. */
function pressure(directory: string, file: string) {
  const rows = readRows(directory, file);
  if (rows.length === 0) return undefined;
  const line = (kind: string) => {
    const row = rows.find(([first]) => first === kind);
    const values = new Map(row?.slice(1).map((word) => [word.split('=')[0], word.split('=')[1] ?? '0']));
    return (
      row && {
        avg10: Number(values.get('avg10') ?? 0),
        avg60: Number(values.get('avg60') ?? 0),
        avg300: Number(values.get('avg300') ?? 0),
        total: parseCount(values.get('total') ?? '0'),
      }
    );
  };
  return { some: line('some'), full: line('full') };
}

function cpu(directory: string) {
  const stat = readTable(directory, 'cpu.stat');
  if (stat === undefined) return undefined;
  const value = (key: string): bigint => stat.get(key) ?? 0n;
  return {
    usageUsec: value('usage_usec'),
    userUsec: value('user_usec'),
    systemUsec: value('system_usec'),
    nrPeriods: value('nr_periods'),
    nrThrottled: value('nr_throttled'),
    throttledUsec: value('throttled_usec'),
    nrBursts: value('nr_bursts'),
    burstUsec: value('burst_usec'),
    psi: pressure(directory, 'cpu.pressure'),
  };
}

function memory(directory: string) {
  const stat = readTable(directory, 'memory.stat');
  if (stat === undefined) return undefined;
  const value = (key: string): bigint => stat.get(key) ?? 0n;
  const count = (file: string): bigint => readCount(directory, file) ?? 0n;
  return {
    anon: value('anon'),
    file: value('file'),
    kernelStack: value('kernel_stack'),
    slab: value('slab'),
    sock: value('sock'),
    shmem: value('shmem'),
    fileMapped: value('file_mapped'),
    fileDirty: value('file_dirty'),
    fileWriteback: value('file_writeback'),
    anonThp: value('anon_thp'),
    inactiveAnon: value('inactive_anon'),
    activeAnon: value('active_anon'),
    inactiveFile: value('inactive_file'),
    activeFile: value('active_file'),
    unevictable: value('unevictable'),
    slabReclaimable: value('slab_reclaimable'),
    slabUnreclaimable: value('slab_unreclaimable'),
    pgfault: value('pgfault'),
    pgmajfault: value('pgmajfault'),
    workingsetRefault: value('workingset_refault_anon') + value('workingset_refault_file'),
    workingsetActivate: value('workingset_activate_anon') + value('workingset_activate_file'),
    workingsetNodereclaim: value('workingset_nodereclaim'),
    pgrefill: value('pgrefill'),
    pgscan: value('pgscan'),
    pgsteal: value('pgsteal'),
    pgactivate: value('pgactivate'),
    pgdeactivate: value('pgdeactivate'),
    pglazyfree: value('pglazyfree'),
    pglazyfreed: value('pglazyfreed'),
    thpFaultAlloc: value('thp_fault_alloc'),
    thpCollapseAlloc: value('thp_collapse_alloc'),
    usage: count('memory.current'),
    usageLimit: count('memory.max'),
    maxUsage: count('memory.peak'),
    swapUsage: count('memory.swap.current'),
    swapLimit: count('memory.swap.max'),
    swapMaxUsage: count('memory.swap.peak'),
    psi: pressure(directory, 'memory.pressure'),
  };
}

function memoryEvents(directory: string) {
  const table = readTable(directory, 'memory.events');
  return (
    table && {
      low: table.get('low') ?? 0n,
      high: table.get('high') ?? 0n,
      max: table.get('max') ?? 0n,
      oom: table.get('oom') ?? 0n,
      oomKill: table.get('oom_kill') ?? 0n,
      oomGroupKill: table.get('oom_group_kill') ?? 0n,
    }
  );
}

/** Lines `major:minor rbytes=1 wbytes=2 rios=3 wios=4 ...`. */
function block(directory: string) {
  const usage = readRows(directory, 'io.stat').flatMap(([device = '', ...words]) => {
    const [major, minor] = device.split(':');
    if (major === undefined || minor === undefined) return [];
    const values = new Map(words.map((word) => [word.split('=')[0], parseCount(word.split('=')[1] ?? '0')]));
    return [
      {
        major: parseCount(major),
        minor: parseCount(minor),
        rbytes: values.get('rbytes') ?? 0n,
        wbytes: values.get('wbytes') ?? 0n,
        rios: values.get('rios') ?? 0n,
        wios: values.get('wios') ?? 0n,
      },
    ];
  });
  return { usage, psi: pressure(directory, 'io.pressure') };
}

function hugePages(directory: string) {
  const suffix = '.current';
  const sizes = listNames(directory).flatMap((name) =>
    name.startsWith('hugetlb.') && name.endsWith(suffix) && !name.includes('rsvd')
      ? [name.slice(8, -suffix.length)]
      : [],
  );
  return sizes.map((pagesize) => ({
    pagesize,
    current: readCount(directory, `hugetlb.${pagesize}.current`) ?? 0n,
    max: readCount(directory, `hugetlb.${pagesize}.max`) ?? 0n,
    failcnt: readTable(directory, `hugetlb.${pagesize}.events`)?.get('max') ?? 0n,
  }));
}

/** What is not accounted on this host is left out. */
export function readMetricsV2(group: ControlGroup) {
  const directory = group.directory('') ?? '';
  const pids = readCount(directory, 'pids.current');
  const limit = readText(directory, 'pids.max');
  return {
    pids: pids === undefined ? undefined : { current: pids, limit: limit === 'max' ? 0n : parseCount(limit ?? '0') },
    cpu: cpu(directory),
    memory: memory(directory),
    memoryEvents: memoryEvents(directory),
    io: block(directory),
    hugetlb: hugePages(directory),
  };
}
