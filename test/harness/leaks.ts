/**
 * What a test run may leave on the machine, and must not: compared before and
 * after. Other programs of the machine come and go meanwhile, so each kind of
 * thing has its own rule for being ours: see {@link TestRun}.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** Names one run of the tests. */
export interface TestRun {
  /** Everything the tests write is below; a mount, loop device or socket that names it is ours. */
  readonly directory: string;
  /** Value of {@link RUN_VARIABLE} in the environment of our processes. */
  readonly id: string;
}

export const RUN_VARIABLE = 'KEELSON_TEST_RUN';

/** What is there, as sentences; equal sentences are the same thing. */
export type Traces = readonly string[];

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

/** The last is a working directory that lies too deep to have a name. */
const GONE = ['ENOENT', 'ESRCH', 'EINVAL', 'ENOTDIR', 'ENAMETOOLONG'];

/** The answer of a look at a thing that may vanish meanwhile; undefined when it did, or when there is no answer. */
async function unlessGone<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look;
  } catch (error) {
    if (error instanceof Error && 'code' in error && GONE.includes(String(error.code))) return undefined;
    throw error;
  }
}

/** Mounts whose line in mountinfo (proc_pid_mountinfo(5)) names the run's directory, that directory itself excepted. */
async function mounts({ directory }: TestRun): Promise<string[]> {
  const table = lines((await readFile('/proc/self/mountinfo')).toString());
  return table
    .filter((line) => line.includes(directory) && line.split(' ')[4] !== directory)
    .map((line) => `mount at ${line.split(' ')[4]}`);
}

/** Loop devices backed by a file below the run's directory (sysfs, block/loopN/loop/backing_file). */
async function loopDevices({ directory }: TestRun): Promise<string[]> {
  const devices = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
  const backed = await Promise.all(
    devices.map(async (name) => {
      const file = await unlessGone(readFile(`/sys/block/${name}/loop/backing_file`, 'utf8'));
      return file?.startsWith(directory) ? [`loop device ${name} on ${file.trim()}`] : [];
    }),
  );
  return backed.flat();
}

async function ancestors(): Promise<Set<string>> {
  const chain = new Set<string>();
  for (let pid = String(process.pid); pid !== '0' && !chain.has(pid); ) {
    chain.add(pid);
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    pid = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? '0';
  }
  return chain;
}

async function isOurs(pid: string, { directory, id }: TestRun): Promise<boolean> {
  const environment = (await unlessGone(readFile(`/proc/${pid}/environ`, 'utf8'))) ?? '';
  if (environment.split('\0').includes(`${RUN_VARIABLE}=${id}`)) return true;
  const command = (await unlessGone(readFile(`/proc/${pid}/cmdline`, 'utf8'))) ?? '';
  const workingDirectory = (await unlessGone(readlink(`/proc/${pid}/cwd`))) ?? '';
  const rootMount = lines((await unlessGone(readFile(`/proc/${pid}/mountinfo`, 'utf8'))) ?? '').find(
    (line) => line.split(' ')[4] === '/',
  );
  return [command, workingDirectory, rootMount ?? ''].some((text) => text.includes(directory));
}

export interface ProcessTrace {
  readonly pid: number;
  readonly command: string;
}

/**
 * Processes that inherited the run's environment, or are at work in its
 * directory, or have it as the source of their root filesystem (containers).
 */
export async function processesOf(run: TestRun): Promise<ProcessTrace[]> {
  const self = await ancestors();
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && !self.has(name));
  const ours = await Promise.all(
    pids.map(async (pid) => {
      if (!(await isOurs(pid, run))) return [];
      const command = (await unlessGone(readFile(`/proc/${pid}/cmdline`, 'utf8'))) ?? '';
      return [{ pid: Number(pid), command: command.replaceAll('\0', ' ').trim().slice(0, 200) }];
    }),
  );
  return ours.flat();
}

/** Mounts, loop devices and processes of that run that are there now. */
export async function belongings(run: TestRun): Promise<string[]> {
  const running = (await processesOf(run)).map(({ pid, command }) => `process ${pid}: ${command}`);
  return [...(await mounts(run)), ...(await loopDevices(run)), ...running];
}

async function directoriesBelow(path: string): Promise<string[]> {
  const entries = (await unlessGone(readdir(path, { withFileTypes: true }))) ?? [];
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
  const deeper = await Promise.all(folders.map(directoriesBelow));
  return [...folders, ...deeper.flat()];
}

/** Directories of all control groups, on every hierarchy of v1 and on v2, parents before children. */
export const cgroupDirectories = (): Promise<string[]> => directoriesBelow('/sys/fs/cgroup');

/** Control groups outside what systemd and the login machinery make for themselves. */
async function cgroups(): Promise<string[]> {
  const all = await cgroupDirectories();
  return all.filter((path) => !/\.(slice|scope|service|mount)(\/|$)/.test(path)).map((path) => `cgroup ${path}`);
}

/** Bound sockets with a path of ours (proc(5), net/unix). */
async function sockets({ directory }: TestRun): Promise<string[]> {
  const table = lines(await readFile('/proc/net/unix', 'utf8')).slice(1);
  const paths = table.map((line) => line.trim().split(/\s+/)[7] ?? '');
  return paths.filter((path) => /keelson|containerd/.test(path) || path.includes(directory)).map((p) => `socket ${p}`);
}

/** Places outside the run's directory where a runtime or a test puts files. */
const PLACES = [
  '/',
  '/tmp',
  '/var/tmp',
  '/run',
  '/run/runc',
  '/run/keelson',
  '/run/containerd',
  '/run/containerd/s',
  '/var/lib',
];

/**
 * What programs make once for all: clients and shims of containerd, ours and zfs-fuse directories with nothing in them by
 * themselves, criu a file of what the kernel can.
 */
const FOR_GOOD = ['fifo', 'runc', 's']
  .map((name) => `/run/containerd/${name}`)
  .concat('/run/containerd', '/run/criu.kdat', '/run/crun', '/run/keelson', '/run/runc', '/run/zfs');

async function files({ directory }: TestRun): Promise<string[]> {
  const names = await Promise.all(
    PLACES.map(async (place) =>
      ((await unlessGone(readdir(place))) ?? [])
        .map((name) => join(place, name))
        .filter(
          (path) =>
            path !== directory &&
            !FOR_GOOD.includes(path) &&
            (/keelson|containerd|runc/.test(path) || path.startsWith('/run/') || place === '/'),
        ),
    ),
  );
  return names.flat().map((path) => `file ${path}`);
}

/** Everything of that run, and everything like it, that is on the machine now. */
export async function traces(run: TestRun): Promise<Traces> {
  const kinds = await Promise.all([belongings(run), cgroups(), sockets(run), files(run)]);
  return kinds.flat().sort();
}

/** What is there after and was not before. */
export function leaked(before: Traces, after: Traces): Traces {
  const known = new Set(before);
  return after.filter((trace) => !known.has(trace));
}
