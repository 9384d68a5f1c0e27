/**
 * Subvolumes of btrfs by ioctl (https://btrfs.readthedocs.io/en/latest/btrfs-ioctl.html,
 * linux/btrfs.h). Creating and deleting wait for the filesystem, so they run in a
 * thread of their own. Names are single components.
 */
import { statfsSync } from 'node:fs';
import { AT_FDCWD, close, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, openat } from './file.js';
import { check, koffi, libc, SystemError } from './libc.js';

/** statfs(2) `f_type`. */
const BTRFS_SUPER_MAGIC = 0x9123683e;

const SNAP_CREATE_V2 = 0x5000_9417;
const SUBVOL_CREATE_V2 = 0x5000_9418;
const SNAP_DESTROY_V2 = 0x5000_943f;
const SUBVOL_GETFLAGS = 0x8008_9419;
const SUBVOL_SETFLAGS = 0x4008_941a;
const TREE_SEARCH = 0xd000_9411;
const INO_LOOKUP = 0xd000_9412;

const SUBVOL_RDONLY = 2n;
/** Objectid of the root directory of every subvolume. */
const FIRST_FREE_OBJECTID = 256n;
const QUOTA_TREE = 8n;
const QGROUP_INFO = 242;

/** All the structures here are one page long. */
const PAGE = 4096;
/** struct btrfs_ioctl_vol_args_v2: fd, transid, flags, four unused words, name. */
const ARGS = { fd: 0, flags: 16, name: 56, nameSize: 4040 } as const;

const ioctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);

/** True when `path` is on btrfs. */
export const isBtrfs = (path: string): boolean => statfsSync(path).type === BTRFS_SUPER_MAGIC;

function ioctlAsync(fd: number, request: number, argument: Buffer, call: string, subject: string): Promise<void> {
  return new Promise((resolve, reject) => {
    ioctl.async(fd, request, argument, (failure: Error | null, result: number) => {
      if (failure) reject(failure);
      else if (result < 0) reject(new SystemError(call, subject, koffi.errno()));
      else resolve();
    });
  });
}

function ioctlSync(fd: number, request: number, argument: Buffer, call: string, subject: string): void {
  check(ioctl(fd, request, argument), call, subject);
}

function volumeArguments(name: string, sourceFd = 0): Buffer {
  const bytes = Buffer.from(name);
  if (bytes.length === 0 || bytes.length >= ARGS.nameSize || bytes.includes(0) || bytes.includes('/')) {
    throw new TypeError(`"${name}" cannot be the name of a subvolume`);
  }
  const args = Buffer.alloc(PAGE);
  args.writeBigInt64LE(BigInt(sourceFd), ARGS.fd);
  bytes.copy(args, ARGS.name);
  return args;
}

/** Opens a directory for the time of `work`. */
async function withDirectory<T>(path: string, work: (fd: number) => Promise<T> | T): Promise<T> {
  const fd = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    return await work(fd);
  } finally {
    close(fd);
  }
}

/** Makes an empty subvolume `name` in `directory`. */
export const createSubvolume = (directory: string, name: string): Promise<void> =>
  withDirectory(directory, (fd) =>
    ioctlAsync(fd, SUBVOL_CREATE_V2, volumeArguments(name), 'create subvolume', `${directory}/${name}`),
  );

/** Makes the subvolume `name` in `directory` a writable snapshot of the subvolume at `source`. */
export const snapshotSubvolume = (source: string, directory: string, name: string): Promise<void> =>
  withDirectory(source, (sourceFd) =>
    withDirectory(directory, (fd) =>
      ioctlAsync(fd, SNAP_CREATE_V2, volumeArguments(name, sourceFd), 'snapshot subvolume', source),
    ),
  );

/** Deletes the subvolume `name` of `directory` with all it holds; `ENOTEMPTY` when other subvolumes are in it. */
export const destroySubvolume = (directory: string, name: string): Promise<void> =>
  withDirectory(directory, (fd) =>
    ioctlAsync(fd, SNAP_DESTROY_V2, volumeArguments(name), 'delete subvolume', `${directory}/${name}`),
  );

/** Makes a subvolume read-only, also for those who have it mounted, or writable again. */
export const setReadOnly = (path: string, readOnly: boolean): Promise<void> =>
  withDirectory(path, async (fd) => {
    const flags = Buffer.alloc(8);
    ioctlSync(fd, SUBVOL_GETFLAGS, flags, 'read flags of subvolume', path);
    const others = flags.readBigUInt64LE() & ~SUBVOL_RDONLY;
    flags.writeBigUInt64LE(readOnly ? others | SUBVOL_RDONLY : others);
    await ioctlAsync(fd, SUBVOL_SETFLAGS, flags, 'set flags of subvolume', path);
  });

/** The number of the subvolume that holds an open directory. */
function subvolumeId(fd: number, path: string): bigint {
  const args = Buffer.alloc(PAGE);
  args.writeBigUInt64LE(FIRST_FREE_OBJECTID, 8);
  ioctlSync(fd, INO_LOOKUP, args, 'look up subvolume', path);
  return args.readBigUInt64LE(0);
}

/**
 * Bytes that only this subvolume holds, as the quota group of the subvolume counts them after
 * a sync of the filesystem; undefined when quotas are off. Takes CAP_SYS_ADMIN.
 */
export const exclusiveBytes = (path: string): Promise<number | undefined> =>
  withDirectory(path, (fd) => {
    const id = subvolumeId(fd, path);
    // struct btrfs_ioctl_search_key: tree, objectid, offset and transid ranges, type range, number of items.
    const args = Buffer.alloc(PAGE);
    args.writeBigUInt64LE(QUOTA_TREE, 0);
    args.writeBigUInt64LE(id, 24);
    args.writeBigUInt64LE(id, 32);
    args.writeBigUInt64LE(2n ** 64n - 1n, 48);
    args.writeUInt32LE(QGROUP_INFO, 56);
    args.writeUInt32LE(QGROUP_INFO, 60);
    args.writeUInt32LE(1, 64);
    try {
      ioctlSync(fd, TREE_SEARCH, args, 'search the quota tree of', path);
    } catch (error) {
      if (error instanceof SystemError && error.errno === 'ENOENT') return undefined;
      throw error;
    }
    if (args.readUInt32LE(64) === 0) return undefined;
    // The item follows the key (104 bytes) and its own header (32): generation, referenced, its
    // compressed size, exclusive, its compressed size.
    return Number(args.readBigUInt64LE(104 + 32 + 24));
  });
