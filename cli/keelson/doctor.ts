/** What Keelson needs of a host, looked at one by one; each finding says what to do. */
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { arch, release } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { connect } from '../../client/index.js';
import { messageOf } from '../../kernel/errors.js';
import { gzipEngine } from '../../lib/inflate/decompressor.js';
import { AT_FDCWD, close, ENOSYS, O_PATH, openat2, RESOLVE_IN_ROOT } from '../../lib/linux/file.js';
import { readKernelFile } from '../../lib/linux/kernel-file.js';
import { mountTable } from '../../lib/linux/mount-table.js';
import { ProcessHandle } from '../../lib/linux/pidfd.js';
import { type Check, type Finding, finding, type Surroundings, type Verdict } from './finding.js';
import { controllers, mountOptions, namespaces, processes, seccomp, socket } from './host-checks.js';

const run = promisify(execFile);

const user: Check = () =>
  process.geteuid?.() === 0
    ? finding('user', 'ok', 'root')
    : finding('user', 'fail', `uid ${process.geteuid?.()}`, 'run the daemon as root: it mounts and makes namespaces');

const node: Check = () => finding('node', 'ok', `${process.version} ${arch()}`);

/** openat2(2) came with Linux 5.6; layers are unpacked through it. */
const openat2Call: Check = () => {
  const fd = openat2(AT_FDCWD, '/', O_PATH, RESOLVE_IN_ROOT, [ENOSYS]);
  if (fd < 0) return finding('openat2', 'fail', `not in Linux ${release()}`, 'use Linux 5.6 or newer');
  close(fd);
  return finding('openat2', 'ok', `Linux ${release()}`);
};

/** pidfd_open(2) came with Linux 5.3; processes are signalled and waited for through it. */
const pidfd: Check = () => {
  try {
    new ProcessHandle(process.pid).close();
    return finding('pidfd', 'ok', 'available');
  } catch (error) {
    return finding('pidfd', 'fail', messageOf(error), 'use Linux 5.6 or newer, without a seccomp filter on it');
  }
};

const filesystems = (): readonly string[] =>
  readKernelFile('/proc/filesystems')
    .split('\n')
    .map((line) => line.split('\t').at(-1) ?? '');

const moduleExists = (name: string): boolean => {
  const index = `/lib/modules/${release()}/modules.dep`;
  return existsSync(index) && readFileSync(index, 'utf8').includes(`/${name}.ko`);
};

function filesystem(name: string, module: string, missing: Verdict, remedy: string): Finding {
  if (filesystems().includes(name)) return finding(name, 'ok', 'in the kernel');
  if (moduleExists(module)) return finding(name, 'ok', `module "${module}", loaded on first use`);
  return finding(name, missing, 'not in this kernel', remedy);
}

const overlay: Check = () =>
  filesystem('overlay', 'overlay', 'warn', 'every container copies its whole image (snapshotter "native")');

const btrfs: Check = () => filesystem('btrfs', 'btrfs', 'ok', '');

/** cgroups(7): version 2 alone, version 1, or both side by side. */
const cgroups: Check = () => {
  const mounts = mountTable();
  const unified = mounts.find(({ type }) => type === 'cgroup2');
  const legacy = mounts.filter(({ type }) => type === 'cgroup');
  if (unified?.target === '/sys/fs/cgroup') {
    const controllers = readKernelFile('/sys/fs/cgroup/cgroup.controllers').trim();
    return finding('cgroups', 'ok', `version 2: ${controllers}`);
  }
  if (legacy.length > 0) return finding('cgroups', 'ok', `version 1${unified ? ', and 2 without controllers' : ''}`);
  return finding('cgroups', 'fail', 'none mounted', 'mount cgroup2 at /sys/fs/cgroup');
};

function programPath(name: string): string | undefined {
  const path = `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;
  return path
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find((file) => isExecutable(file));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    // Whatever the reason, it cannot be run.
    return false;
  }
}

/** First releases without the escapes of November 2025 (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881). */
const SAFE_RUNC: Readonly<Record<string, number>> = { '1.2': 8, '1.3': 3 };

/** True for a version with the fixes; a distribution may have added them to an older one. */
export function isSafeRunc(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.\-+~]/).map(Number);
  const first = SAFE_RUNC[`${major}.${minor}`];
  return first === undefined ? major > 1 || (major === 1 && minor > 3) : patch >= first;
}

const runc: Check = async () => {
  const path = programPath('runc');
  if (path === undefined) return finding('runc', 'fail', 'not found', 'install it, for example: apt-get install runc');
  const { stdout } = await run(path, ['--version'], { timeout: 5000 });
  const [, version = 'unknown'] = /runc version (\S+)/.exec(stdout) ?? [];
  if (isSafeRunc(version)) return finding('runc', 'ok', `${version} at ${path}`);
  const remedy = 'use 1.2.8, 1.3.3 or newer, unless your distribution has put the fixes of CVE-2025-31133 into it';
  return finding('runc', 'warn', `${version} at ${path} has known escapes`, remedy);
};

const inflate: Check = () => {
  const { name, reason } = gzipEngine();
  if (name === 'isal') return finding('gzip', 'ok', 'ISA-L');
  const remedy = 'install ISA-L to unpack images faster, for example: apt-get install libisal2';
  return finding('gzip', 'warn', `zlib, for want of ISA-L (${reason})`, remedy);
};

const MIN_FILES = 65_536;

const openFiles: Check = () => {
  const limits = readKernelFile('/proc/self/limits');
  const [, soft = '', hard = ''] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
  const enough = hard === 'unlimited' || Number(hard) >= MIN_FILES;
  const remedy = `raise it to ${MIN_FILES} or more, for example with LimitNOFILE= of systemd`;
  return finding('open files', enough ? 'ok' : 'warn', `${soft}, at most ${hard}`, enough ? '' : remedy);
};

const MIN_FREE = 1024 ** 3;

/** The nearest directory above that exists already. */
const existing = (path: string): string => (existsSync(path) ? path : existing(dirname(path)));

const disk: Check = ({ root }) => {
  const { bavail, bsize, ffree, files } = statfsSync(existing(root));
  const mount = mountTable()
    .filter(({ target }) => target === '/' || root === target || root.startsWith(`${target}/`))
    .at(-1);
  const free = bavail * bsize;
  const found = `${mount?.type} at ${mount?.target}, ${(free / 1024 ** 3).toFixed(1)} GiB free`;
  if (free < MIN_FREE) return finding('disk', 'warn', found, `free some space, or move "root" away from ${root}`);
  if (files > 0 && ffree < files / 100) return finding('disk', 'warn', `${found}, almost no inodes`, 'remove files');
  if (mount?.type === 'overlay')
    return finding('disk', 'warn', found, 'overlay on overlay does not work: put "root" on a real filesystem');
  return finding('disk', 'ok', found);
};

const daemon: Check = async ({ address }) => {
  if (!existsSync(address))
    return finding('daemon', 'warn', `no socket at ${address}`, 'start keelsond, or give --address');
  using client = connect({ address });
  const { version } = await client.version.version({}, { signal: AbortSignal.timeout(3000) });
  return finding('daemon', 'ok', `${version} at ${address}`);
};

const CHECKS: Readonly<Record<string, Check>> = {
  user,
  node,
  openat2: openat2Call,
  pidfd,
  overlay,
  btrfs,
  cgroups,
  controllers,
  namespaces,
  seccomp,
  runc,
  gzip: inflate,
  'open files': openFiles,
  processes,
  disk,
  'mount options': mountOptions,
  socket,
  daemon,
};

/** Runs every check; one that throws is a finding, too. */
export async function examine(surroundings: Surroundings): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const [subject, check] of Object.entries(CHECKS))
    try {
      findings.push(await check(surroundings));
    } catch (error) {
      findings.push(finding(subject, 'fail', messageOf(error), 'see the message'));
    }
  return findings;
}
