/**
 * The default OCI runtime specification (config.json) of a Linux container,
 * and the changes people ask for on top of it. Each change is a pure function
 * from spec to spec, so that a caller lists the ones it wants.
 *
 * Source: OCI runtime-spec 1.1, config.md and config-linux.md. The defaults
 * are those of containerd: what clients expect of `ctr run`.
 */
import { DEFAULT_CAPABILITIES } from './capabilities.js';
import { defaultSeccomp, type SeccompProfile } from './seccomp.js';

export interface SpecMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface LinuxNamespace {
  readonly type: 'pid' | 'ipc' | 'uts' | 'mount' | 'network' | 'user' | 'cgroup' | 'time';
  /** Join this one instead of making a new one. */
  readonly path?: string;
}

export interface DeviceRule {
  readonly allow: boolean;
  readonly type?: string;
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
}

export interface Device {
  readonly path: string;
  readonly type: 'c' | 'b' | 'p';
  readonly major: number;
  readonly minor: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface Resources {
  readonly devices?: readonly DeviceRule[];
  readonly memory?: { readonly limit?: number };
  readonly cpu?: { readonly shares?: number; readonly quota?: number; readonly period?: number };
  readonly pids?: { readonly limit: number };
}

export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids?: readonly number[];
}

export interface Process {
  readonly terminal: boolean;
  readonly user: User;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly noNewPrivileges: boolean;
  readonly capabilities: Readonly<Record<'bounding' | 'effective' | 'permitted', readonly string[]>>;
  readonly rlimits: readonly { readonly type: string; readonly hard: number; readonly soft: number }[];
}

export interface RuntimeSpec {
  readonly ociVersion: string;
  readonly hostname?: string;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly process: Process;
  readonly mounts: readonly SpecMount[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux: {
    readonly cgroupsPath: string;
    readonly namespaces: readonly LinuxNamespace[];
    readonly resources: Resources;
    readonly devices?: readonly Device[];
    readonly maskedPaths: readonly string[];
    readonly readonlyPaths: readonly string[];
    readonly seccomp?: SeccompProfile;
  };
}

export type Change = (spec: RuntimeSpec) => RuntimeSpec;

export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const MOUNTS: readonly SpecMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/run',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
];

const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
  '/proc/scsi',
];

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const NAMESPACES: readonly LinuxNamespace[] = [
  { type: 'pid' },
  { type: 'ipc' },
  { type: 'uts' },
  { type: 'mount' },
  { type: 'network' },
];

/** The spec of a container that was told nothing: isolated, unprivileged, without a command. */
export function defaultSpec(namespace: string, id: string): RuntimeSpec {
  const capabilities = [...DEFAULT_CAPABILITIES];
  return {
    ociVersion: '1.0.2',
    root: { path: 'rootfs', readonly: false },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [],
      env: [DEFAULT_PATH],
      cwd: '/',
      noNewPrivileges: true,
      // No inheritable set: it would let an unprivileged user of the container gain capabilities (CVE-2022-24769).
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
    },
    mounts: MOUNTS,
    linux: {
      cgroupsPath: `/${namespace}/${id}`,
      namespaces: NAMESPACES,
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}

export const applyChanges = (spec: RuntimeSpec, changes: readonly Change[]): RuntimeSpec =>
  changes.reduce((current, change) => change(current), spec);

const inProcess =
  (change: (process: Process) => Partial<Process>): Change =>
  (spec) => ({ ...spec, process: { ...spec.process, ...change(spec.process) } });

const inLinux =
  (change: (linux: RuntimeSpec['linux']) => Partial<RuntimeSpec['linux']>): Change =>
  (spec) => ({ ...spec, linux: { ...spec.linux, ...change(spec.linux) } });

const inResources = (change: (resources: Resources) => Partial<Resources>): Change =>
  inLinux((linux) => ({ resources: { ...linux.resources, ...change(linux.resources) } }));

export const withArgs = (args: readonly string[]): Change => inProcess(() => ({ args }));
export const withCwd = (cwd: string): Change => inProcess(() => ({ cwd }));
export const withUser = (user: User): Change => inProcess(() => ({ user }));
export const withTerminal: Change = inProcess(({ env }) => ({ terminal: true, env: mergeEnv(env, ['TERM=xterm']) }));
export const withNewPrivileges: Change = inProcess(() => ({ noNewPrivileges: false }));
export const withReadonlyRoot: Change = (spec) => ({ ...spec, root: { ...spec.root, readonly: true } });
export const withHostname =
  (hostname: string): Change =>
  (spec) => ({ ...spec, hostname });
export const withRootPath =
  (path: string): Change =>
  (spec) => ({ ...spec, root: { ...spec.root, path } });

/** Later values of a variable win; `NAME` without `=` removes it. */
export function mergeEnv(base: readonly string[], added: readonly string[]): string[] {
  const variables = new Map<string, string>();
  for (const entry of [...base, ...added]) {
    const at = entry.indexOf('=');
    if (at < 0) variables.delete(entry);
    else variables.set(entry.slice(0, at), entry);
  }
  return [...variables.values()];
}

export const withEnv = (added: readonly string[]): Change => inProcess(({ env }) => ({ env: mergeEnv(env, added) }));

export const withMounts =
  (added: readonly SpecMount[]): Change =>
  (spec) => ({ ...spec, mounts: [...spec.mounts, ...added] });

export const withAnnotations =
  (added: Readonly<Record<string, string>>): Change =>
  (spec) => ({ ...spec, annotations: { ...spec.annotations, ...added } });

export const withCapabilities = (add: readonly string[], drop: readonly string[]): Change =>
  inProcess(({ capabilities }) => {
    const kept = [...new Set([...capabilities.bounding, ...add])].filter((name) => !drop.includes(name));
    return { capabilities: { bounding: kept, effective: kept, permitted: kept } };
  });

/** Replaces the namespace of that type by one to join. */
export const withNamespace = (namespace: LinuxNamespace): Change =>
  inLinux(({ namespaces }) => ({
    namespaces: [...namespaces.filter(({ type }) => type !== namespace.type), namespace],
  }));

/** Shares the host's network, its resolver and its hosts file. */
export const withHostNetwork: Change = (spec) => {
  const shared = ['/etc/hosts', '/etc/resolv.conf'].map((path) => ({
    destination: path,
    type: 'bind',
    source: path,
    options: ['rbind', 'ro'],
  }));
  return applyChanges(spec, [
    inLinux(({ namespaces }) => ({ namespaces: namespaces.filter(({ type }) => type !== 'network') })),
    withMounts(shared),
  ]);
};

/** `bytes` of memory at most. */
export const withMemoryLimit = (bytes: number): Change => inResources(() => ({ memory: { limit: bytes } }));
export const withPidsLimit = (limit: number): Change => inResources(() => ({ pids: { limit } }));
/** `count` processors' worth of time, by CFS quota over a period of 100 ms. */
export const withCpus = (count: number): Change =>
  inResources(({ cpu }) => ({ cpu: { ...cpu, period: 100_000, quota: Math.round(count * 100_000) } }));
export const withCpuShares = (shares: number): Change => inResources(({ cpu }) => ({ cpu: { ...cpu, shares } }));
export const withCgroup = (cgroupsPath: string): Change => inLinux(() => ({ cgroupsPath }));

/** The default system-call filter for the capabilities the container has by now: list it last. */
export const withSeccomp: Change = (spec) =>
  inLinux(() => ({ seccomp: defaultSeccomp(spec.process.capabilities.bounding) }))(spec);

/** A filter of somebody else's making, in place of ours. */
export const withSeccompProfile = (seccomp: SeccompProfile): Change => inLinux(() => ({ seccomp }));

/** As the host's root: these capabilities, every device, nothing masked, no filter. */
export const privileged = (capabilities: readonly string[], devices: readonly Device[]): Change => {
  const writable = (options: readonly string[]) => options.map((option) => (option === 'ro' ? 'rw' : option));
  return (spec) =>
    applyChanges(spec, [
      inProcess(() => ({
        noNewPrivileges: false,
        capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      })),
      inLinux((linux) => ({
        maskedPaths: [],
        readonlyPaths: [],
        devices,
        resources: { ...linux.resources, devices: [{ allow: true, access: 'rwm' }] },
      })),
      ({ mounts, ...rest }) => ({
        ...rest,
        mounts: mounts.map((mount) =>
          mount.type === 'sysfs' || mount.type === 'cgroup' ? { ...mount, options: writable(mount.options) } : mount,
        ),
      }),
    ]);
};
