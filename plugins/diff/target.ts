/** Finds the directory behind a list of mounts, without mounting anything where that can be helped. */
import { mkdirSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { invalidArgument } from '../../kernel/errors.js';
import { unmountAll, withMounts } from '../../lib/linux/mount.js';
import { overlayDirectories } from '../../lib/linux/overlay.js';
import { removeTree } from '../../lib/tree/jobs.js';
import type { Target } from './unpack/target.js';

/** The single mount of a list, if it is one, writable, and on the root. */
function soleMount(mounts: readonly Mount[]): Mount | undefined {
  const [mount] = mounts;
  return mount && mounts.length === 1 && mount.target === '' && !mount.options.includes('ro') ? mount : undefined;
}

const isBind = ({ type, options }: Mount): boolean =>
  type === 'bind' || options.includes('bind') || options.includes('rbind');

/** The directory behind a single bind mount, writable or not. */
export function bindSource(mounts: readonly Mount[]): string | undefined {
  const [mount] = mounts;
  return mount && mounts.length === 1 && mount.target === '' && isBind(mount) ? mount.source : undefined;
}

/** Where a layer for these mounts is unpacked directly; undefined when they have to be mounted. */
export function directTarget(mounts: readonly Mount[]): Target | undefined {
  const mount = soleMount(mounts);
  if (!mount) return undefined;
  if (isBind(mount)) return { root: mount.source, form: 'plain', xattrs: 'trusted' };
  if (mount.type !== 'overlay') return undefined;
  const directories = overlayDirectories(mount.options);
  if (directories?.upper === undefined) return undefined;
  const xattrs = mount.options.includes('userxattr') ? 'user' : 'trusted';
  return { root: directories.upper, form: 'overlay', lowers: directories.lowers, xattrs };
}

/** Where a layer without its parents is unpacked: as an overlay's upper directory would hold it. */
export function detachedTarget(mounts: readonly Mount[], lowersFollow: boolean): Target {
  const mount = soleMount(mounts);
  if (!mount || !isBind(mount)) throw invalidArgument('a detached layer can only be unpacked into a single bind mount');
  return { root: mount.source, form: 'overlay', xattrs: 'trusted', lowersFollow };
}

/** The directories that mounts of committed layers show merged, topmost first; undefined when they are not told apart. */
export function layerDirectories(mounts: readonly Mount[]): readonly string[] | undefined {
  const source = bindSource(mounts);
  if (source !== undefined) return [source];
  const [mount] = mounts;
  if (mount?.type !== 'overlay' || mounts.length !== 1) return undefined;
  const directories = overlayDirectories(mount.options);
  return directories && directories.upper === undefined ? directories.lowers : undefined;
}

export interface HeldMounts {
  readonly root: string;
  /** Unmounts; to be called once. */
  release(): Promise<void>;
}

/** Performs the mounts at a private place below `directory` until they are released. */
export async function holdMounts(mounts: readonly Mount[], directory: string): Promise<HeldMounts> {
  const released = Promise.withResolvers<void>();
  const mounted = Promise.withResolvers<string>();
  const held = withMounts(
    mounts,
    (root) => {
      mounted.resolve(root);
      return released.promise;
    },
    { directory },
  );
  held.catch(mounted.reject);
  const root = await mounted.promise;
  return {
    root,
    release() {
      released.resolve();
      return held;
    },
  };
}

/** The directory for mounts that cannot be avoided, cleared of what a former run left. */
export async function freshMountDirectory(stateDirectory: string): Promise<string> {
  const directory = join(stateDirectory, 'mounts');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // Each mount had a directory of its own; the table of all mounts of a host may be long.
  if (readdirSync(directory).length === 0) return directory;
  await unmountAll(directory, () => {});
  await removeTree(directory);
  await mkdir(directory, { mode: 0o700 });
  return directory;
}
