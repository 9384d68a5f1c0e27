/** Starting and reaping processes: posix_spawn(3), waitid(2), prctl(2). */
import { constants } from 'node:os';
import { check, koffi, libc, SystemError } from './libc.js';

export interface SpawnOptions {
  /** Absolute path of the program; nothing is looked up in PATH. */
  readonly path: string;
  /** Arguments after the program's name. */
  readonly args: readonly string[];
  /** The whole environment of the child. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The child's descriptor n is our descriptor `files[n]`; it has no others. */
  readonly files: readonly number[];
  /** Makes the child leader of a session of its own, out of reach of our terminal and process group. */
  readonly session?: boolean;
}

/** How a process ended, as a shell tells it: 0 to 255, or 128 + N when signal N killed it. */
export interface Reaped {
  readonly pid: number;
  readonly exitStatus: number;
}

// Sizes of the opaque types of glibc, on every 64-bit architecture: 80 and 336 bytes.
const FILE_ACTIONS_SIZE = 80;
const ATTRIBUTES_SIZE = 336;
const SIGSET_SIZE = 128;

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;

const P_ALL = 0;
const P_PID = 1;
const P_PIDFD = 3;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const CLD_EXITED = 1;
const SIGINFO_SIZE = 128;
const SIGINFO_CODE = 8;
const SIGINFO_PID = 16;
const SIGINFO_STATUS = 24;

const PR_SET_CHILD_SUBREAPER = 36;

const actionsInit = libc.func('posix_spawn_file_actions_init', 'int', ['void *']);
const actionsDestroy = libc.func('posix_spawn_file_actions_destroy', 'int', ['void *']);
const actionsDup2 = libc.func('posix_spawn_file_actions_adddup2', 'int', ['void *', 'int', 'int']);
const actionsCloseFrom = libc.func('posix_spawn_file_actions_addclosefrom_np', 'int', ['void *', 'int']);
const actionsChdir = libc.func('posix_spawn_file_actions_addchdir_np', 'int', ['void *', 'str']);
const attributesInit = libc.func('posix_spawnattr_init', 'int', ['void *']);
const attributesDestroy = libc.func('posix_spawnattr_destroy', 'int', ['void *']);
const attributesFlags = libc.func('posix_spawnattr_setflags', 'int', ['void *', 'short']);
const attributesDefault = libc.func('posix_spawnattr_setsigdefault', 'int', ['void *', 'void *']);
const attributesMask = libc.func('posix_spawnattr_setsigmask', 'int', ['void *', 'void *']);
const posixSpawn = libc.func('posix_spawn', 'int', ['void *', 'str', 'void *', 'void *', 'str *', 'str *']);
const waitid = libc.func('waitid', 'int', ['int', 'int', 'void *', 'int', 'void *']);
const prctl = libc.func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
const sysKill = libc.func('kill', 'int', ['int', 'int']);

/** The posix_spawn family returns errno instead of setting it. */
function must(errno: number, call: string, subject: string): void {
  if (errno !== 0) throw new SystemError(call, subject, errno);
}

/** Puts `files` on 0, 1, 2, ...: first out of each other's way, then into place. */
function placeFiles(actions: Buffer, files: readonly number[], path: string): void {
  const base = Math.max(files.length, ...files.map((file) => file + 1));
  for (const [n, file] of files.entries()) must(actionsDup2(actions, file, base + n), 'posix_spawn', path);
  for (const n of files.keys()) must(actionsDup2(actions, base + n, n), 'posix_spawn', path);
  must(actionsCloseFrom(actions, files.length), 'posix_spawn', path);
}

/**
 * Starts a process and returns its id. The caller is blocked until the child
 * runs the program, 0.1 to 0.2 ms whatever our own size, since nothing is
 * forked (vfork). All signals are at their default in the child.
 *
 * Throws {@link SystemError}: `ENOENT`, `EACCES`, ... as execve(2) answers.
 */
export function spawn({ path, args, env, cwd, files, session = false }: SpawnOptions): number {
  const pid = new Int32Array(1);
  const actions = Buffer.alloc(FILE_ACTIONS_SIZE);
  const attributes = Buffer.alloc(ATTRIBUTES_SIZE);
  must(actionsInit(actions), 'posix_spawn', path);
  must(attributesInit(attributes), 'posix_spawn', path);
  try {
    if (cwd !== undefined) must(actionsChdir(actions, cwd), 'posix_spawn', path);
    placeFiles(actions, files, path);
    const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (session ? POSIX_SPAWN_SETSID : 0);
    must(attributesFlags(attributes, flags), 'posix_spawn', path);
    must(attributesDefault(attributes, Buffer.alloc(SIGSET_SIZE, 0xff)), 'posix_spawn', path);
    must(attributesMask(attributes, Buffer.alloc(SIGSET_SIZE)), 'posix_spawn', path);
    const variables = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    must(posixSpawn(pid, path, actions, attributes, [path, ...args, null], [...variables, null]), 'exec', path);
  } finally {
    attributesDestroy(attributes);
    actionsDestroy(actions);
  }
  return pid[0] ?? 0;
}

function wait(type: number, id: number, flags: number): Reaped | undefined {
  const info = Buffer.alloc(SIGINFO_SIZE);
  if (waitid(type, id, info, WEXITED | WNOHANG | flags, null) < 0) {
    if (koffi.errno() === constants.errno.ECHILD) return undefined;
    throw new SystemError('waitid', String(id), koffi.errno());
  }
  const reaped = info.readInt32LE(SIGINFO_PID);
  if (reaped === 0) return undefined;
  const status = info.readInt32LE(SIGINFO_STATUS);
  return { pid: reaped, exitStatus: info.readInt32LE(SIGINFO_CODE) === CLD_EXITED ? status : 128 + status };
}

/** The status word of wait(2) as a {@link Reaped.exitStatus}. */
export function fromWaitStatus(status: number): number {
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}

/** Reaps that child when it has exited; undefined while it runs, and when it is no child of ours. */
export const reap = (pid: number): Reaped | undefined => wait(P_PID, pid, 0);

/** As {@link reap}, of the process behind a pidfd (Linux 5.4). */
export const reapPidfd = (pidfd: number): Reaped | undefined => wait(P_PIDFD, pidfd, 0);

/** Some child that has exited and not been reaped, without reaping it. */
export const peekZombie = (): Reaped | undefined => wait(P_ALL, 0, WNOWAIT);

/** From now on orphaned descendants become our children instead of init's (prctl(2)). */
export function becomeSubreaper(): void {
  check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 'prctl', 'PR_SET_CHILD_SUBREAPER');
}

/**
 * kill(2). Safe against reuse of the number only for a child that has not been
 * reaped; for any other process use a pidfd. Negative: a process group.
 */
export function sendSignal(pid: number, signal: number): void {
  check(sysKill(pid, signal), 'kill', String(pid));
}
