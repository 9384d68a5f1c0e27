/** Disk usage of a directory tree, as du(1) counts it. */
import { AT_FDCWD, ENOENT } from '../linux/file.js';
import { lstatat, type Stat } from '../linux/stat.js';
import { walkTree } from './walk.js';

export interface TreeUsage {
  /** Files of all kinds, directories and the root included; one with several names counts once. */
  readonly inodes: number;
  /** Bytes allocated on disk. */
  readonly size: number;
}

/**
 * Measures the tree at `root`; yields after each entry. What appears or goes
 * away meanwhile may or may not be counted; what is mounted inside is not.
 */
export function* measuring(root: string): Generator<void, TreeUsage, void> {
  const several = new Set<string>();
  let inodes = 0;
  let size = 0;
  const count = (stat: Stat | undefined, isDirectory: boolean): void => {
    if (stat === undefined) return;
    if (!isDirectory && stat.nlink > 1) {
      const identity = `${stat.filesystem}:${stat.inode}`;
      if (several.has(identity)) return;
      several.add(identity);
    }
    inodes += 1;
    size += stat.allocated;
  };
  count(lstatat(AT_FDCWD, root), true);
  for (const { step, parent, name } of walkTree(root)) {
    if (step === 'entry' || step === 'enter') count(lstatat(parent, name, [ENOENT]), step === 'enter');
    yield;
  }
  return { inodes, size };
}
