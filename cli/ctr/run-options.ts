/** The options of `run`, and the changes of the runtime spec that they ask for. */

import { lstatSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { invalidArgument } from '../../kernel/errors.js';
import { capability, grantableCapabilities } from '../../lib/oci/capabilities.js';
import { commandLine, type ImageProcess } from '../../lib/oci/image-process.js';
import {
  type Change,
  type Device,
  privileged,
  type SpecMount,
  withAnnotations,
  withArgs,
  withCapabilities,
  withCgroup,
  withCpuShares,
  withCpus,
  withCwd,
  withEnv,
  withHostNetwork,
  withMemoryLimit,
  withMounts,
  withNewPrivileges,
  withPidsLimit,
  withReadonlyRoot,
  withSeccomp,
  withTerminal,
} from '../../lib/oci/runtime-spec.js';
import { seccompProfile } from './seccomp-profile.js';
import { DEFAULT_FIFO_DIRECTORY } from './stdio.js';

export interface RunOptions {
  readonly id?: string;
  readonly rm?: boolean;
  readonly detach?: boolean;
  readonly tty?: boolean;
  readonly nullIo?: boolean;
  readonly snapshotter?: string;
  readonly runtime: string;
  readonly platform?: string;
  readonly fifoDir: string;
  readonly detachKeys: string;
  readonly env: readonly string[];
  readonly envFile?: string;
  readonly label: readonly string[];
  readonly annotation: readonly string[];
  readonly mount: readonly string[];
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly user?: string;
  readonly cwd?: string;
  readonly memoryLimit?: number;
  readonly cpus?: number;
  readonly cpuShares?: number;
  readonly pids?: number;
  readonly cgroup?: string;
  readonly privileged?: boolean;
  readonly netHost?: boolean;
  readonly readOnly?: boolean;
  readonly allowNewPrivs?: boolean;
  readonly seccomp: boolean;
  readonly seccompProfile?: string;
}

const collect = (value: string, previous: readonly string[]): readonly string[] => [...previous, value];

const positive = (text: string): number => {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('expected a number above 0');
};

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** `67108864`, `64m`, `1.5g`: bytes. */
export const parseBytes = (text: string): number => {
  const [, amount = '', unit = ''] = /^(\d+(?:\.\d+)?)([kmg]?)b?$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(amount) * (UNITS[unit.toLowerCase()] ?? 0));
  if (amount !== '' && Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError('expected bytes, such as 67108864 or 64m');
};

/** The options that say what process to run; `exec` shares them. */
export const withProcessOptions = (command: Command): Command =>
  command
    .option('-t, --tty', 'give it a terminal')
    .option('-d, --detach', 'return once it runs')
    .option('--env <name=value>', 'set an environment variable (repeatable)', collect, [])
    .option('--user <user[:group]>', 'run as this user, by name or number')
    .option('--cwd <path>', 'working directory')
    .option('--detach-keys <keys>', 'keys that leave a terminal without ending it', 'ctrl-p,ctrl-q');

export const withRunOptions = (command: Command): Command =>
  withProcessOptions(command)
    .option('--id <id>', 'id of the container; without it the first argument after the image is the id')
    .option('--rm', 'remove the container when its process has ended')
    .option('--null-io', 'connect its streams to /dev/null')
    .option('--snapshotter <name>', 'snapshotter of its filesystem', process.env.CONTAINERD_SNAPSHOTTER)
    .option('--runtime <name>', 'runtime that runs it', 'io.containerd.runc.v2')
    .option('--platform <os/arch>', 'take the image for this platform')
    .option('--env-file <path>', 'set environment variables from a file, one NAME=VALUE a line')
    .option('--label <key=value>', 'label the container (repeatable)', collect, [])
    .option('--annotation <key=value>', 'annotate the runtime spec (repeatable)', collect, [])
    .option('--mount <spec>', 'mount, such as type=bind,src=/a,dst=/b,options=rbind:ro (repeatable)', collect, [])
    .option('--cap-add <name>', 'add a capability (repeatable)', collect, [])
    .option('--cap-drop <name>', 'drop a capability (repeatable)', collect, [])
    .option('--memory-limit <bytes>', 'memory it may use, such as 64m', parseBytes)
    .option('--cpus <count>', 'processors it may use, such as 1.5', positive)
    .option('--cpu-shares <shares>', 'relative processor weight', positive)
    .option('--pids <count>', 'processes it may have', positive)
    .option('--cgroup <path>', 'control group to run in')
    .option('--privileged', 'run with all capabilities and devices')
    .option('--net-host', 'share the network of the host')
    .option('--read-only', 'make its root filesystem read-only')
    .option('--allow-new-privs', 'let its programs gain privileges by setuid')
    .option('--seccomp', 'filter its system calls by the default profile; so it is without any option, too', true)
    .option(
      '--seccomp-profile <path>',
      'filter its system calls by the profile of a file (JSON, as runtime specs have it)',
    )
    .option('--no-seccomp', 'do not filter its system calls')
    .option('--fifo-dir <path>', 'directory of the streams of its process', DEFAULT_FIFO_DIRECTORY);

/** `KEY=VALUE` pairs of an option. INVALID_ARGUMENT for one without `=`. */
export function pairs(option: string, entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      if (at > 0) return [entry.slice(0, at), entry.slice(at + 1)];
      throw invalidArgument(`--${option} "${entry}" is malformed`, { remedy: 'write it as KEY=VALUE' });
    }),
  );
}

const MOUNT_KEYS: Readonly<Record<string, string>> = {
  type: 'type',
  src: 'source',
  source: 'source',
  dst: 'destination',
  destination: 'destination',
  target: 'destination',
  options: 'options',
};

/** `type=bind,src=/a,dst=/b,options=rbind:ro`. INVALID_ARGUMENT. */
export function parseMount(text: string): SpecMount {
  const fields = Object.fromEntries(
    text.split(',').map((part) => {
      const at = part.indexOf('=');
      const key = MOUNT_KEYS[part.slice(0, at)];
      if (at > 0 && key) return [key, part.slice(at + 1)];
      throw invalidArgument(`--mount "${text}": unknown part "${part}"`, { remedy: 'use type, src, dst and options' });
    }),
  );
  if (!fields.destination) throw invalidArgument(`--mount "${text}" has no dst`);
  return {
    type: fields.type ?? 'bind',
    source: fields.source ?? '',
    destination: fields.destination,
    options: fields.options ? fields.options.split(':') : [],
  };
}

async function envFile(path: string | undefined): Promise<readonly string[]> {
  if (path === undefined) return [];
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#'));
}

async function systemCallFilter({ seccomp, seccompProfile: path }: RunOptions): Promise<readonly Change[]> {
  if (!seccomp) return [];
  return [path === undefined ? withSeccomp : await seccompProfile(path)];
}

/** Every device node below /dev, pseudo-terminals and the container's own mounts aside. */
function hostDevices(directory = '/dev'): Device[] {
  const own = new Set(['/dev/pts', '/dev/shm', '/dev/fd', '/dev/mqueue', '/dev/console']);
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    if (own.has(path)) return [];
    const stats = lstatSync(path);
    if (stats.isDirectory()) return hostDevices(path);
    if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return [];
    const { major, minor } = deviceNumbers(stats.rdev);
    const type = stats.isBlockDevice() ? 'b' : 'c';
    return [{ path, type, major, minor, fileMode: stats.mode & 0o777, uid: stats.uid, gid: stats.gid }];
  });
}

/** makedev(3) undone. */
const deviceNumbers = (device: number): { major: number; minor: number } => ({
  major: (device >>> 8) & 0xfff,
  minor: (device & 0xff) | ((Math.floor(device / 2 ** 20) & 0xfff) << 8),
});

const when = (condition: unknown, ...changes: readonly Change[]): readonly Change[] => (condition ? changes : []);

/** The changes in the order in which they build on one another; the user is resolved elsewhere. */
export async function specChanges(
  options: RunOptions,
  image: ImageProcess,
  args: readonly string[],
): Promise<Change[]> {
  const { memoryLimit, cpus, cpuShares, pids, cgroup } = options;
  return [
    withEnv([...image.env, ...(await envFile(options.envFile)), ...options.env]),
    withArgs(commandLine(image, args)),
    withCwd(options.cwd ?? (image.workingDir || '/')),
    withMounts(options.mount.map(parseMount)),
    withAnnotations(pairs('annotation', options.annotation)),
    withCapabilities(options.capAdd.map(capability), options.capDrop.map(capability)),
    ...when(options.tty, withTerminal),
    ...when(options.netHost, withHostNetwork),
    ...when(options.readOnly, withReadonlyRoot),
    ...when(options.allowNewPrivs, withNewPrivileges),
    ...(memoryLimit === undefined ? [] : [withMemoryLimit(memoryLimit)]),
    ...(cpus === undefined ? [] : [withCpus(cpus)]),
    ...(cpuShares === undefined ? [] : [withCpuShares(cpuShares)]),
    ...(pids === undefined ? [] : [withPidsLimit(pids)]),
    ...(cgroup === undefined ? [] : [withCgroup(cgroup)]),
    ...(options.privileged
      ? [privileged(await grantableCapabilities(), hostDevices())]
      : await systemCallFilter(options)),
  ];
}
