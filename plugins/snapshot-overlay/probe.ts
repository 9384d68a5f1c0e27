/** Whether, and with which options, overlays work on a filesystem: found out by mounting one. */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, type ErrorCode, unimplemented } from '../../kernel/errors.js';
import { SystemError } from '../../lib/linux/libc.js';
import { mountAll, unmount } from '../../lib/linux/mount.js';
import { overlayLowers, overlayPath } from '../../lib/linux/overlay.js';

export type Probe = {
  /** Settles when nothing of what was tried is mounted any more; rejects when it cannot be unmounted. */
  readonly cleared: Promise<void>;
} & (
  | { readonly works: true; readonly options: readonly string[] }
  | { readonly works: false; readonly reason: string }
);

/**
 * Sets of options, the best first. `index=off`: otherwise a layer can be lower
 * directory of one mount only. `userxattr`: in a user namespace the kernel may
 * not use `trusted.*` attributes. Old kernels know neither.
 */
const CANDIDATES: readonly (readonly string[])[] = [['index=off'], [], ['userxattr', 'index=off'], ['userxattr']];

/** What the kernel answers where overlays cannot be had; anything else, a full disk say, is a fault. */
const CANNOT: readonly ErrorCode[] = ['INVALID_ARGUMENT', 'PERMISSION_DENIED', 'UNIMPLEMENTED'];

const PREFIX = 'probe-';
const MERGED = 'merged';

/** A handful of files of our own: not worth a worker thread while the daemon starts. */
const remove = (directory: string): void => rmSync(directory, { recursive: true, force: true });

/** Mounts a small overlay and deletes a file of its lower directory in it, which must leave a whiteout. The mount stays. */
function attempt(directory: string, options: readonly string[]): void {
  const place = (name: string): string => {
    const path = join(directory, name);
    mkdirSync(path);
    return path;
  };
  const lower = place('lower');
  const upper = place('upper');
  const paths = [`lowerdir=${overlayLowers([lower])}`, `upperdir=${overlayPath(upper)}`];
  const work = `workdir=${overlayPath(place('work'))}`;
  const merged = place(MERGED);
  writeFileSync(join(lower, 'file'), '');
  mountAll([{ type: 'overlay', source: 'overlay', target: '', options: [...paths, work, ...options] }], merged);
  rmSync(join(merged, 'file'));
  if (!lstatSync(join(upper, 'file')).isCharacterDevice()) throw unimplemented('a deleted file leaves no whiteout');
}

/** Why not, or undefined when it works. Errors that say nothing about overlays are thrown. */
function refusal(directory: string, options: readonly string[]): string | undefined {
  try {
    attempt(directory, options);
    return undefined;
  } catch (error) {
    if (error instanceof Error && CANNOT.includes(codeOf(error))) return error.message;
    throw error;
  }
}

const isNotMounted = (error: unknown): boolean =>
  error instanceof SystemError && ['EINVAL', 'ENOENT'].includes(error.errno);

/** Not waited for by a start: to unmount takes longer than all the rest, since it waits for every processor. */
async function clear(directory: string): Promise<void> {
  await unmount(join(directory, MERGED)).catch((error: unknown) => {
    if (!isNotMounted(error)) throw error;
  });
  remove(directory);
}

/** Clears what a daemon that was killed left of its probe. */
export async function clearFormer(root: string): Promise<void> {
  const former = readdirSync(root).filter((name) => name.startsWith(PREFIX));
  await Promise.all(former.map((name) => clear(join(root, name))));
}

/** Tries on the filesystem of the directory `root`. Errors that say nothing about overlays are thrown. */
export async function probe(root: string): Promise<Probe> {
  const reasons: string[] = [];
  const clearing: Promise<void>[] = [];
  const cleared = async (): Promise<void> => void (await Promise.all(clearing));
  for (const options of CANDIDATES) {
    const directory = mkdtempSync(join(root, PREFIX));
    try {
      const reason = refusal(directory, options);
      clearing.push(clear(directory));
      if (reason === undefined) return { works: true, options, cleared: cleared() };
      reasons.push(reason);
    } catch (error) {
      await clear(directory);
      throw error;
    }
  }
  const reason = `overlays do not work on the filesystem of "${root}": ${reasons[0]}`;
  return { works: false, reason, cleared: cleared() };
}
