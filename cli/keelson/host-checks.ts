/** What the kernel is built and set up for, as far as containers need it. */
import { existsSync, statSync } from 'node:fs';
import { readKernelFile } from '../../lib/linux/kernel-file.js';
import { type MountEntry, mountTable } from '../../lib/linux/mount-table.js';
import { type Check, type Finding, finding } from './finding.js';

/** cgroups(7): those that limits of containers need. */
const CONTROLLERS = ['cpu', 'memory', 'pids'];

/** The controllers of version 2, or those that hierarchies of version 1 have. */
export function controllersOf(
  mounts: readonly Pick<MountEntry, 'type' | 'superOptions'>[],
  unified: string,
): readonly string[] {
  const legacy = mounts.filter(({ type }) => type === 'cgroup').flatMap(({ superOptions }) => superOptions.split(','));
  return [...unified.trim().split(/\s+/), ...legacy];
}

const UNIFIED = '/sys/fs/cgroup/cgroup.controllers';

export const controllers: Check = () => {
  const found = controllersOf(mountTable(), existsSync(UNIFIED) ? readKernelFile(UNIFIED) : '');
  const missing = CONTROLLERS.filter((name) => !found.includes(name));
  if (missing.length === 0) return finding('controllers', 'ok', CONTROLLERS.join(', '));
  const remedy =
    'limits of them do not hold: enable them in the kernel, for example with cgroup_enable=memory at its start';
  return finding('controllers', 'warn', `no ${missing.join(', ')}`, remedy);
};

/** namespaces(7), by their names below /proc/PID/ns and in /proc/sys/user. */
const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup', 'user'];

/** `limit`: how many there may be; undefined where the kernel has none of the kind. */
export function namespacesFinding(limit: (name: string) => number | undefined): Finding {
  const missing = NAMESPACES.filter((name) => limit(name) === undefined);
  if (missing.length > 0)
    return finding('namespaces', 'fail', `no ${missing.join(', ')} in this kernel`, 'use a kernel that has them');
  const forbidden = NAMESPACES.filter((name) => limit(name) === 0);
  if (forbidden.length === 0) return finding('namespaces', 'ok', NAMESPACES.join(', '));
  const settings = forbidden.map((name) => `user.max_${name}_namespaces`).join(', ');
  return finding('namespaces', 'fail', `none may be made of ${forbidden.join(', ')}`, `raise ${settings} with sysctl`);
}

export const namespaces: Check = () =>
  namespacesFinding((name) => {
    if (!existsSync(`/proc/self/ns/${name}`)) return undefined;
    const setting = `/proc/sys/user/max_${name}_namespaces`;
    return existsSync(setting) ? Number(readKernelFile(setting)) : Number.POSITIVE_INFINITY;
  });

export const seccomp: Check = () => {
  if (/^Seccomp:/m.test(readKernelFile('/proc/self/status'))) return finding('seccomp', 'ok', 'in the kernel');
  const remedy = 'containers with a seccomp profile do not start: use a kernel with CONFIG_SECCOMP_FILTER';
  return finding('seccomp', 'warn', 'not in this kernel', remedy);
};

/** A container takes some, a supervisor a dozen. */
const MIN_PROCESSES = 4096;

/** From /proc/self/limits and /proc/sys/kernel/pid_max: whichever is less counts. */
export function processesFinding(limits: string, pidMax: number): Finding {
  const [, , hard = ''] = /^Max processes\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
  const own = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  if (own < MIN_PROCESSES)
    return finding('processes', 'warn', `at most ${own}`, 'raise it, for example with LimitNPROC= of systemd');
  if (pidMax < MIN_PROCESSES)
    return finding('processes', 'warn', `at most ${pidMax} on this host`, 'raise kernel.pid_max with sysctl');
  return finding('processes', 'ok', `at most ${Math.min(own, pidMax)}`);
}

export const processes: Check = () =>
  processesFinding(readKernelFile('/proc/self/limits'), Number(readKernelFile('/proc/sys/kernel/pid_max')));

/** Options of the filesystem below "root" that containers inherit. */
const HINDERING: Readonly<Record<string, string>> = {
  noexec: 'no program of an image runs',
  nodev: 'devices of images do not work',
  nosuid: 'set-user-id programs of images do not work',
  ro: 'nothing can be stored',
};

export function mountOptionsFinding(target: string, options: readonly string[]): Finding {
  const hindering = options.filter((option) => Object.hasOwn(HINDERING, option));
  if (hindering.length === 0) return finding('mount options', 'ok', `nothing that hinders at ${target}`);
  const why = hindering.map((option) => HINDERING[option]).join(', ');
  const verdict = hindering.some((option) => option === 'noexec' || option === 'ro') ? 'fail' : 'warn';
  const remedy = `${why}: mount ${target} without, or move "root"`;
  return finding('mount options', verdict, `${hindering.join(',')} at ${target}`, remedy);
}

export const mountOptions: Check = ({ root }) => {
  const above = mountTable().filter(({ target }) => target === '/' || root === target || root.startsWith(`${target}/`));
  const { target = '/', options = [] } = above.at(-1) ?? {};
  return mountOptionsFinding(target, options);
};

/** Bytes of a path in `sockaddr_un`, without the zero at its end: unix(7). */
const MAX_SOCKET_PATH = 107;

export const socket: Check = ({ address }) => {
  const length = Buffer.byteLength(address);
  if (length > MAX_SOCKET_PATH)
    return finding(
      'socket',
      'fail',
      `${length} bytes in its path`,
      `choose an --address of ${MAX_SOCKET_PATH} at most`,
    );
  const stats = statSync(address, { throwIfNoEntry: false });
  if (stats === undefined) return finding('socket', 'ok', `${length} bytes in its path`);
  if (!stats.isSocket())
    return finding('socket', 'fail', `${address} is no socket`, 'remove it, or choose another --address');
  if ((stats.mode & 0o002) === 0) return finding('socket', 'ok', 'open to its owner and group only');
  return finding('socket', 'fail', 'anybody may write to it, and so be root here', `chmod 0660 ${address}`);
};
