/** Options as in fstab(5), split into the flags and the data of mount(2). */
import { unimplemented } from '../../kernel/errors.js';

export const MS_RDONLY = 0x1;
export const MS_NOSUID = 0x2;
export const MS_NODEV = 0x4;
export const MS_NOEXEC = 0x8;
export const MS_SYNCHRONOUS = 0x10;
export const MS_REMOUNT = 0x20;
export const MS_MANDLOCK = 0x40;
export const MS_DIRSYNC = 0x80;
export const MS_NOATIME = 0x400;
export const MS_NODIRATIME = 0x800;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_UNBINDABLE = 0x2_0000;
export const MS_PRIVATE = 0x4_0000;
export const MS_SLAVE = 0x8_0000;
export const MS_SHARED = 0x10_0000;
export const MS_RELATIME = 0x20_0000;
export const MS_STRICTATIME = 0x100_0000;

/** Option name to the flags it sets, or, written `[flags]`, clears. */
const FLAGS: Readonly<Record<string, number | readonly [number]>> = {
  async: [MS_SYNCHRONOUS],
  atime: [MS_NOATIME],
  bind: MS_BIND,
  defaults: 0,
  dev: [MS_NODEV],
  diratime: [MS_NODIRATIME],
  dirsync: MS_DIRSYNC,
  exec: [MS_NOEXEC],
  mand: MS_MANDLOCK,
  noatime: MS_NOATIME,
  nodev: MS_NODEV,
  nodiratime: MS_NODIRATIME,
  noexec: MS_NOEXEC,
  nomand: [MS_MANDLOCK],
  norelatime: [MS_RELATIME],
  nostrictatime: [MS_STRICTATIME],
  nosuid: MS_NOSUID,
  rbind: MS_BIND | MS_REC,
  relatime: MS_RELATIME,
  remount: MS_REMOUNT,
  ro: MS_RDONLY,
  rw: [MS_RDONLY],
  strictatime: MS_STRICTATIME,
  suid: [MS_NOSUID],
  sync: MS_SYNCHRONOUS,
};

const PROPAGATION: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE | MS_REC,
  shared: MS_SHARED,
  rshared: MS_SHARED | MS_REC,
  slave: MS_SLAVE,
  rslave: MS_SLAVE | MS_REC,
  unbindable: MS_UNBINDABLE,
  runbindable: MS_UNBINDABLE | MS_REC,
};

/** Options that containerd gives a meaning of its own and that nobody here carries out. */
const FOREIGN = /^(?:loop$|uidmap=|gidmap=|X-containerd\.)/;

export interface MountOptions {
  readonly flags: number;
  /** Set by calls of their own after the mount; 0 when nothing is to change. */
  readonly propagation: readonly number[];
  /** What is left for the filesystem itself, one option an element. */
  readonly data: readonly string[];
}

/** Later options win. UNIMPLEMENTED for an option that is not for the kernel: `loop`, `uidmap=`, `X-containerd.*`. */
export function parseMountOptions(options: readonly string[]): MountOptions {
  let flags = 0;
  const propagation: number[] = [];
  const data: string[] = [];
  for (const option of options) {
    const known = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined;
    const spread = Object.hasOwn(PROPAGATION, option) ? PROPAGATION[option] : undefined;
    if (FOREIGN.test(option)) throw unimplemented(`mount option "${option}" is not supported`);
    if (spread !== undefined) propagation.push(spread);
    else if (known === undefined) data.push(option);
    else if (typeof known === 'number') flags |= known;
    else flags &= ~known[0];
  }
  return { flags, propagation, data };
}
