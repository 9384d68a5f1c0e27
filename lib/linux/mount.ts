/** mount(2) and umount2(2), for lists of mounts as containerd's snapshotters return them. */
import { closeSync, readlinkSync } from 'node:fs';
import { mkdtemp, realpath, rmdir } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { internal, invalidArgument, unimplemented } from '../../kernel/errors.js';
import { check, koffi, libc, SystemError } from './libc.js';
import { type MountOptions, MS_BIND, MS_REC, MS_REMOUNT, parseMountOptions } from './mount-options.js';
import { type MountEntry, mountsWithin } from './mount-table.js';
import { MOUNT_DATA_LIMIT, mountLongOverlay } from './overlay.js';

export { type MountEntry, mountsWithin, mountTable } from './mount-table.js';

/** A mount as mount(8) understands it, the shape of the contract's `Mount`. */
export interface MountRequest {
  /** Filesystem type; `bind` with option `bind` or `rbind`. */
  readonly type: string;
  readonly source: string;
  /** Where, relative to the root of the whole list; empty for the root itself. */
  readonly target: string;
  /** As in fstab(5); paths in an overlay's options are written by `overlay.ts`. */
  readonly options: readonly string[];
}

/** umount2(2): detach now, clean up when nobody uses it any more. */
export const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

const SYS_OPENAT2 = 437;
const AT_FDCWD = -100;
const RESOLVE_IN_ROOT = 0x10n;
const O_PATH = 0x20_0000;
const O_CLOEXEC = 0x8_0000;
const OPEN_HOW_SIZE = 24;

const sysMount = libc.func('mount', 'int', ['str', 'str', 'str', 'ulong', 'str']);
const sysUmount = libc.func('umount2', 'int', ['str', 'int']);
const sysOpenat2 = libc.func('syscall', 'long', ['long', 'int', 'str', 'void *', 'size_t']);

/** openat2(2) of a path descriptor. */
function openPath(directory: number, path: string, resolve: bigint): number {
  const how = new BigUint64Array([BigInt(O_PATH | O_CLOEXEC), 0n, resolve]);
  return check(sysOpenat2(SYS_OPENAT2, directory, path, how, OPEN_HOW_SIZE), 'open mount point', path);
}

/** The target inside `root`, opened so that no symbolic link in the tree leads out of it. */
function openTarget(root: string, target: string): number {
  const rootFd = openPath(AT_FDCWD, root, 0n);
  if (target === '') return rootFd;
  try {
    return openPath(rootFd, target, RESOLVE_IN_ROOT);
  } finally {
    closeSync(rootFd);
  }
}

/** Calls `work` with a path that reaches the target whatever happens to the tree meanwhile, and its name for errors. */
function atTarget<T>(root: string, target: string, work: (place: string, name: string) => T): T {
  const fd = openTarget(root, target);
  try {
    const place = `/proc/self/fd/${fd}`;
    return work(place, readlinkSync(place));
  } finally {
    closeSync(fd);
  }
}

function attach({ type, source }: MountRequest, { flags, data }: MountOptions, place: string, name: string): void {
  const text = data.join(',');
  const call = (shown: string): void => {
    const result = sysMount(source, place, type, flags, shown);
    if (result < 0 && koffi.errno() === constants.errno.ENODEV) {
      throw unimplemented(`mount "${source}" on "${name}": this kernel has no filesystem "${type}"`);
    }
    check(result, `mount ${type} "${source}" on`, name);
  };
  if (Buffer.byteLength(text) <= MOUNT_DATA_LIMIT) call(text);
  else if (type === 'overlay') mountLongOverlay({ source, target: place, flags, data }, call);
  else throw invalidArgument(`mount ${type} on "${name}": its options take more than ${MOUNT_DATA_LIMIT} bytes`);
}

/** What mount(2) wants in calls of their own, after the mount. */
function amendments({ flags, propagation }: MountOptions): readonly number[] {
  // A bind mount starts with the flags of what it binds, not with its own.
  const hasOwn = flags & MS_BIND && !(flags & MS_REMOUNT) && flags & ~(MS_BIND | MS_REC);
  return hasOwn ? [(flags & ~MS_REC) | MS_REMOUNT, ...propagation] : propagation;
}

/** Adds the absolute path of the mount point to `done` as soon as it is mounted. */
function mountOne(request: MountRequest, root: string, done: string[]): void {
  const options = parseMountOptions(request.options);
  atTarget(root, request.target, (place, name) => {
    attach(request, options, place, name);
    done.push(name);
  });
  // Opened again: the first descriptor is of the directory that is covered now.
  for (const change of amendments(options)) {
    atTarget(root, request.target, (place, name) => check(sysMount(null, place, null, change, null), 'remount', name));
  }
}

/**
 * Performs the mounts in order, the first on `root`, each target looked up
 * inside `root`. All or none: after a failure, what was mounted is unmounted.
 * Mounting takes well under a millisecond, so this is synchronous.
 *
 * Throws {@link SystemError} as the kernel answers; UNIMPLEMENTED for a filesystem the
 * kernel lacks and for options only containerd knows; INVALID_ARGUMENT for overlong options.
 */
export function mountAll(mounts: readonly MountRequest[], root: string): void {
  const done: string[] = [];
  try {
    for (const request of mounts) {
      mountOne(request, root, done);
    }
  } catch (error) {
    for (const path of done.reverse()) {
      if (sysUmount(path, UMOUNT_NOFOLLOW) === 0) continue;
      throw internal(`mounts below "${root}" failed, and "${path}" cannot be unmounted again`, { cause: error });
    }
    throw error;
  }
}

/**
 * Unmounts the topmost mount at exactly `target`, in a thread of its own, since
 * the last unmount of a filesystem may write it out. A link at `target` is not followed.
 *
 * Throws {@link SystemError}: `EBUSY` while in use, `EINVAL` when nothing is mounted there.
 */
export function unmount(target: string, flags = 0): Promise<void> {
  return new Promise((resolve, reject) => {
    sysUmount.async(target, flags | UMOUNT_NOFOLLOW, (failure: Error | null, result: number) => {
      if (failure) reject(failure);
      else if (result < 0) reject(new SystemError('unmount', target, koffi.errno()));
      else resolve();
    });
  });
}

const failedWith = (error: unknown, errno: string): error is SystemError =>
  error instanceof SystemError && error.errno === errno;

/** Unmounting one peer of a shared mount unmounts the others too, which is no error when their turn comes. */
const isGone = ({ id, target }: MountEntry): boolean => !mountsWithin(target).some((other) => other.id === id);

/** A mount that was detached because something still uses it: worth a warning in the log. */
export type OnBusy = (mount: MountEntry, error: SystemError) => void;

async function unmountEntry(entry: MountEntry, onBusy: OnBusy | undefined): Promise<void> {
  try {
    await unmount(entry.target);
  } catch (error) {
    if (failedWith(error, 'EINVAL') && isGone(entry)) return;
    if (!failedWith(error, 'EBUSY') || onBusy === undefined) throw error;
    await unmount(entry.target, MNT_DETACH);
    onBusy(entry, error);
  }
}

/**
 * Unmounts everything at `directory` and below, last mounted first. Nothing
 * mounted there, or no such directory, is fine. With `onBusy`, a mount in use
 * is detached and reported; without, its `EBUSY` is thrown and the rest stays.
 * Resolves to whether anything was mounted.
 */
export async function unmountAll(directory: string, onBusy?: OnBusy): Promise<boolean> {
  const path = await realPath(directory);
  return path !== undefined && unmountWithin(path, onBusy);
}

/**
 * As {@link unmountAll}, of a path that is known to go through no links. The first unmount has begun when this
 * returns: what the caller does then, the event loop held or not, it does meanwhile.
 */
export async function unmountWithin(path: string, onBusy?: OnBusy): Promise<boolean> {
  const entries = mountsWithin(path);
  for (const entry of entries) await unmountEntry(entry, onBusy);
  return entries.length > 0;
}

async function realPath(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

export interface TemporaryMount {
  /** Where the private mount point is made; default the system's directory for temporary files. */
  readonly directory?: string;
  /** As of {@link unmountAll}. */
  readonly onBusy?: OnBusy;
}

/**
 * Runs `work` with the mounts performed on a new private directory, which is
 * unmounted and removed before the result is handed on, whatever that is.
 */
export async function withMounts<T>(
  mounts: readonly MountRequest[],
  work: (root: string) => Promise<T> | T,
  { directory = tmpdir(), onBusy }: TemporaryMount = {},
): Promise<T> {
  const root = await mkdtemp(join(directory, 'mount-'));
  try {
    mountAll(mounts, root);
    return await work(root);
  } finally {
    await unmountAll(root, onBusy);
    // Not recursive: had the unmount failed, this must not reach into what is mounted.
    await rmdir(root);
  }
}
