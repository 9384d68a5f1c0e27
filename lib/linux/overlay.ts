/**
 * Overlay mounts (kernel, Documentation/filesystems/overlayfs.rst): how paths
 * are written in their options, and mounting more layers than the one page of
 * option text that mount(2) takes.
 */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { failedPrecondition } from '../../kernel/errors.js';
import { check, koffi, libc, SystemError } from './libc.js';
import {
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_STRICTATIME,
} from './mount-options.js';

// Numbers shared by all architectures since Linux 5.2; glibc has no wrappers before 2.36.
const SYS_MOVE_MOUNT = 429;
const SYS_FSOPEN = 430;
const SYS_FSCONFIG = 431;
const SYS_FSMOUNT = 432;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_SET_FD = 5;
const FSCONFIG_CMD_CREATE = 6;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const MOVE_MOUNT_T_SYMLINKS = 0x10;
const AT_FDCWD = -100;
const O_PATH = 0x20_0000;
/** Bytes of option text that mount(2) takes: a page less its closing NUL. */
export const MOUNT_DATA_LIMIT = 4095;
/** fsconfig(2) takes string values up to this many bytes, the closing NUL included. */
const LONGEST_VALUE = 256;

const fsopen = libc.func('syscall', 'long', ['long', 'str', 'uint']);
const fsconfig = libc.func('syscall', 'long', ['long', 'int', 'uint', 'str', 'str', 'int']);
const fsmount = libc.func('syscall', 'long', ['long', 'int', 'uint', 'uint']);
const moveMount = libc.func('syscall', 'long', ['long', 'int', 'str', 'int', 'str', 'uint']);

/** Writes a path for the value of `upperdir=` or `workdir=`: a comma would end it, a backslash would vanish. */
export const overlayPath = (path: string): string => path.replace(/[\\,]/g, '\\$&');

/** Writes the paths, topmost first, for the value of `lowerdir=`, where a colon parts them too. */
export const overlayLowers = (paths: readonly string[]): string =>
  paths.map((path) => path.replace(/[\\,:]/g, '\\$&')).join(':');

const unescaped = (text: string): string => text.replace(/\\(.)/gs, '$1');

/** The paths in the value of `lowerdir=`. */
export const splitLowers = (value: string): string[] => (value.match(/(?:\\.|[^:\\])+/gs) ?? []).map(unescaped);

const LOWERDIR = 'lowerdir=';
const isLower = (option: string): boolean => option.startsWith(LOWERDIR);

const lowersOf = (data: readonly string[]): string[] =>
  data.filter(isLower).flatMap((option) => splitLowers(option.slice(LOWERDIR.length)));

export interface OverlayDirectories {
  /** Undefined for a read-only overlay. */
  readonly upper: string | undefined;
  /** Topmost first. */
  readonly lowers: readonly string[];
}

/** What makes layers show otherwise than by merging directories of the same name. */
const RELOCATING = /^(?:lowerdir|datadir)\+=|^lowerdir=.*::|^(?:redirect_dir|metacopy)=(?:on|follow)$/;

/**
 * The directories behind an overlay's mount options; undefined when they do not
 * simply merge by name (redirects, data-only layers) or are not named absolutely.
 */
export function overlayDirectories(options: readonly string[]): OverlayDirectories | undefined {
  const uppers = options.filter((option) => option.startsWith('upperdir='));
  const upper = uppers.map((option) => unescaped(option.slice('upperdir='.length))).at(-1);
  const lowers = lowersOf(options);
  const isAbsolute = [...(upper === undefined ? [] : [upper]), ...lowers].every((path) => path.startsWith('/'));
  return isAbsolute && !options.some((option) => RELOCATING.test(option)) ? { upper, lowers } : undefined;
}

/** The options of an overlay that shows the same and cannot be written to: its upper directory is one more layer. */
export function readOnlyOverlay(options: readonly string[]): readonly string[] {
  const upper = options.find((option) => option.startsWith('upperdir='));
  const rest = options.filter((option) => !/^(?:upperdir|workdir|lowerdir)=|^(?:rw|ro)$/.test(option));
  const lowers = options.filter(isLower).map((option) => option.slice(LOWERDIR.length));
  const uppers = upper === undefined ? [] : [overlayLowers([unescaped(upper.slice('upperdir='.length))])];
  return [...rest, LOWERDIR + [...uppers, ...lowers].join(':'), 'ro'];
}

const ATTRIBUTES: readonly (readonly [flag: number, attribute: number])[] = [
  [MS_RDONLY, 0x1],
  [MS_NOSUID, 0x2],
  [MS_NODEV, 0x4],
  [MS_NOEXEC, 0x8],
  [MS_NOATIME, 0x10],
  [MS_STRICTATIME, 0x20],
  [MS_NODIRATIME, 0x80],
];

/** A filesystem being configured: fsopen(2), fsconfig(2), fsmount(2), move_mount(2). Linux 5.2. */
class FilesystemContext implements Disposable {
  readonly #fd: number;

  constructor(type: string) {
    this.#fd = check(fsopen(SYS_FSOPEN, type, FSOPEN_CLOEXEC), 'fsopen', type);
  }

  /** One parameter, a flag when it has no value. */
  set(key: string, value: string | null, fd = 0): void {
    const command = value === null ? (fd > 0 ? FSCONFIG_SET_FD : FSCONFIG_SET_FLAG) : FSCONFIG_SET_STRING;
    this.#check(fsconfig(SYS_FSCONFIG, this.#fd, command, key, value, fd), `fsconfig ${key}`, value ?? '');
  }

  /**
   * Parameter naming a directory: `path`, which the kernel wants as `written`.
   * By descriptor (Linux 6.13) when it is too long for a value.
   */
  setDirectory(key: string, path: string, written = path): void {
    if (Buffer.byteLength(written) < LONGEST_VALUE) {
      this.set(key, written);
      return;
    }
    const fd = openSync(path, O_PATH | constants.O_DIRECTORY);
    try {
      this.set(key, null, fd);
    } finally {
      closeSync(fd);
    }
  }

  mount(target: string, flags: number): void {
    this.#check(fsconfig(SYS_FSCONFIG, this.#fd, FSCONFIG_CMD_CREATE, null, null, 0), 'mount', target);
    const attributes = ATTRIBUTES.reduce((sum, [flag, attribute]) => (flags & flag ? sum | attribute : sum), 0);
    const mounted = this.#check(fsmount(SYS_FSMOUNT, this.#fd, FSMOUNT_CLOEXEC, attributes), 'fsmount', target);
    try {
      const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS;
      check(moveMount(SYS_MOVE_MOUNT, mounted, '', AT_FDCWD, target, flags), 'move_mount', target);
    } finally {
      closeSync(mounted);
    }
  }

  #check(result: number, call: string, subject: string): number {
    if (result >= 0) return result;
    const errno = koffi.errno();
    const reasons = this.#log();
    throw new SystemError(reasons === '' ? call : `${call} (${reasons})`, subject, errno);
  }

  /** What the kernel has to say about the failure: lines such as `e overlay: ...` read from the descriptor. */
  #log(): string {
    const lines: string[] = [];
    const line = Buffer.alloc(1024);
    try {
      for (;;) lines.push(line.toString('utf8', 0, readSync(this.#fd, line)).trim());
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENODATA') return lines.join(', ');
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

interface OverlayRequest {
  readonly source: string;
  readonly target: string;
  readonly flags: number;
  readonly data: readonly string[];
}

/** True when the kernel takes layers one by one (`lowerdir+`, Linux 6.7). */
function probeOneByOne(): boolean {
  try {
    using context = new FilesystemContext('overlay');
    context.set('lowerdir+', '/');
    return true;
  } catch (error) {
    if (error instanceof SystemError && ['EINVAL', 'ENOSYS'].includes(error.errno)) return false;
    throw error;
  }
}

function mountOneByOne({ source, target, flags, data }: OverlayRequest): void {
  using context = new FilesystemContext('overlay');
  context.set('source', source);
  if (flags & MS_RDONLY) context.set('ro', null);
  for (const lower of lowersOf(data)) context.setDirectory('lowerdir+', lower);
  for (const option of data.filter((text) => !isLower(text))) {
    const [key = '', ...rest] = option.split('=');
    const value = rest.join('=');
    if (rest.length === 0) context.set(key, null);
    else if (key === 'upperdir' || key === 'workdir') context.setDirectory(key, unescaped(value), value);
    else context.set(key, value);
  }
  context.mount(target, flags);
}

/** The deepest directory that holds all the paths. */
function commonDirectory(paths: readonly string[]): string {
  let common = dirname(paths[0] ?? '/');
  while (common !== '/' && !paths.every((path) => path.startsWith(`${common}/`))) common = dirname(common);
  return common;
}

/** Calls `mount` with the layers named through a descriptor of the directory that holds them, which is short. */
function withShortLowers(data: readonly string[], mount: (data: string) => void): void {
  const lowers = lowersOf(data);
  const common = commonDirectory(lowers);
  const fd = openSync(common, O_PATH | constants.O_DIRECTORY);
  try {
    const short = lowers.map((path) => `/proc/self/fd/${fd}${common === '/' ? path : path.slice(common.length)}`);
    mount([...data.filter((option) => !isLower(option)), LOWERDIR + overlayLowers(short)].join(','));
  } finally {
    closeSync(fd);
  }
}

let oneByOne: boolean | undefined;
const kernelTakesOneByOne = (): boolean => (oneByOne ??= probeOneByOne());

/**
 * Mounts an overlay whose options do not fit into one page. `mount` is mount(2)
 * with the data text; it is used where the kernel cannot take layers one by one.
 */
export function mountLongOverlay(
  request: OverlayRequest,
  mount: (data: string) => void,
  { oneByOne = kernelTakesOneByOne() } = {},
): void {
  if (oneByOne) {
    mountOneByOne(request);
    return;
  }
  withShortLowers(request.data, (data) => {
    if (Buffer.byteLength(data) > MOUNT_DATA_LIMIT) {
      throw failedPrecondition(`mount overlay on "${request.target}": its layers do not fit into one page of options`, {
        remedy: 'Linux 6.7 or newer has no such limit',
      });
    }
    mount(data);
  });
}
