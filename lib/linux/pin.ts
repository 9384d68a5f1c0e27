/**
 * Pinned processes. A pidfd that is mounted on a file keeps what the kernel
 * knows of its process, exit status included, for whoever opens that file
 * later: nobody needs to be there when the process ends, nor when it is reaped
 * (pidfd_open(2); mounts of pidfds since Linux 6.14, exit status since 6.15).
 */
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { isErrno } from '../errno.js';
import { check, koffi, libc, SystemError } from './libc.js';
import { isPidfd, type ProcessHandle } from './pidfd.js';

// Numbers shared by all architectures (since Linux 5.2).
const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0x8_0000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

const openTree = libc.func('syscall', 'long', ['long', 'int', 'str', 'uint']);
const moveMount = libc.func('syscall', 'long', ['long', 'int', 'str', 'int', 'str', 'uint']);
const sysUmount = libc.func('umount2', 'int', ['str', 'int']);

const OPEN_FLAGS = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;

function attach(pidfd: number, path: string): void {
  const tree = check(openTree(SYS_OPEN_TREE, pidfd, '', OPEN_FLAGS), 'open_tree', path);
  try {
    check(moveMount(SYS_MOVE_MOUNT, tree, '', AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH), 'move_mount', path);
  } finally {
    closeSync(tree);
  }
}

/** Pins a process on a file, which is made. False on kernels that cannot; the file is there only after true. */
export function pin(handle: ProcessHandle, path: string): boolean {
  writeFileSync(path, '', { mode: 0o600 });
  try {
    attach(handle.fd, path);
    return true;
  } catch (error) {
    rmSync(path, { force: true });
    if (isErrno(error, 'EINVAL', 'ENOSYS', 'EPERM')) return false;
    throw error;
  }
}

/** A pidfd of the process that is pinned there, dead or alive; undefined when none is. */
export function openPin(path: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  if (isPidfd(fd)) return fd;
  closeSync(fd);
  return undefined;
}

/** Lets go of what is pinned there and removes the file; nothing pinned, or no file, is fine. */
export function unpin(path: string): void {
  if (sysUmount(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
    const error = new SystemError('unmount', path, koffi.errno());
    if (!isErrno(error, 'EINVAL', 'ENOENT')) throw error;
  }
  rmSync(path, { force: true });
}
