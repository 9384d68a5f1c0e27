/** Whether, and with which options, overlays work on a filesystem: found out by mounting one. */
import { lstatSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, type ErrorCode, unimplemented } from '../../kernel/errors.js';
import { mountAll, unmount, unmountAll } from '../../lib/linux/mount.js';
import { overlayLowers, overlayPath } from '../../lib/linux/overlay.js';

export type Probe =
  | { readonly works: true; readonly options: readonly string[] }
  | { readonly works: false; readonly reason: string };

/**
 * Sets of options, the best first. `index=off`: otherwise a layer can be lower
 * directory of one mount only. `userxattr`: in a user namespace the kernel may
 * not use `trusted.*` attributes. Old kernels know neither.
 */
const CANDIDATES: readonly (readonly string[])[] = [['index=off'], [], ['userxattr', 'index=off'], ['userxattr']];

/** What the kernel answers where overlays cannot be had; anything else, a full disk say, is a fault. */
const CANNOT: readonly ErrorCode[] = ['INVALID_ARGUMENT', 'PERMISSION_DENIED', 'UNIMPLEMENTED'];

const PREFIX = 'probe-';

/** A handful of files of our own: not worth a worker thread while the daemon starts. */
const remove = (directory: string): void => rmSync(directory, { recursive: true, force: true });

/** Mounts a small overlay and deletes a file of its lower directory in it, which must leave a whiteout. */
async function attempt(directory: string, options: readonly string[]): Promise<void> {
  const place = (name: string): string => {
    const path = join(directory, name);
    mkdirSync(path);
    return path;
  };
  const lower = place('lower');
  const upper = place('upper');
  const paths = [`lowerdir=${overlayLowers([lower])}`, `upperdir=${overlayPath(upper)}`];
  const work = `workdir=${overlayPath(place('work'))}`;
  const merged = place('merged');
  writeFileSync(join(lower, 'file'), '');
  mountAll([{ type: 'overlay', source: 'overlay', target: '', options: [...paths, work, ...options] }], merged);
  try {
    rmSync(join(merged, 'file'));
    if (lstatSync(join(upper, 'file')).isCharacterDevice()) return;
  } finally {
    await unmount(merged);
  }
  throw unimplemented('a deleted file leaves no whiteout');
}

/** Tries on the filesystem of the directory `root`. Errors that say nothing about overlays are thrown. */
export async function probe(root: string): Promise<Probe> {
  for (const name of await readdir(root)) {
    if (!name.startsWith(PREFIX)) continue;
    // Of a daemon that was killed.
    await unmountAll(join(root, name));
    remove(join(root, name));
  }
  const reasons: string[] = [];
  for (const options of CANDIDATES) {
    const directory = await mkdtemp(join(root, PREFIX));
    try {
      await attempt(directory, options);
      return { works: true, options };
    } catch (error) {
      if (!(error instanceof Error) || !CANNOT.includes(codeOf(error))) throw error;
      reasons.push(error.message);
    } finally {
      remove(directory);
    }
  }
  return { works: false, reason: `overlays do not work on the filesystem of "${root}": ${reasons[0]}` };
}
