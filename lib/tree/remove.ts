/** Removing a directory tree, whatever is in it, but nothing that is mounted in it. */

import { constants } from 'node:os';
import { failedPrecondition } from '../../kernel/errors.js';
import { AT_FDCWD, AT_REMOVEDIR, EISDIR, ENOENT, ENOTEMPTY, unlinkat } from '../linux/file.js';
import { SystemError } from '../linux/libc.js';
import { walkTree } from './walk.js';

const { EBUSY } = constants.errno;

const isMissing = (error: unknown): boolean => error instanceof SystemError && error.errno === 'ENOENT';

/**
 * Removes the tree at `root`; yields after each entry. A tree that is not there
 * is fine. FAILED_PRECONDITION, once everything else is gone, when something is
 * mounted inside: mount points and what lies under them stay.
 */
export function* removing(root: string): Generator<void, void, void> {
  const mounts: string[] = [];
  try {
    for (const { step, parent, name } of walkTree(root)) {
      const shown = name.toString('utf8', 0, name.length - 1);
      if (step === 'mount') mounts.push(shown);
      else if (step !== 'enter' && !removed(parent, name, step === 'leave')) mounts.push(shown);
      yield;
    }
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  if (mounts.length === 0) unlinkat(AT_FDCWD, root, AT_REMOVEDIR, [ENOENT]);
  else {
    throw failedPrecondition(`remove "${root}": something is mounted inside it, on "${mounts.join('", "')}"`, {
      remedy: 'unmount it first',
    });
  }
}

/**
 * False when it cannot go because something is mounted on it: here, which the walk sees too, or
 * in another place that shows the same file, or because it is a file with a mount on it.
 */
function removed(parent: number, name: Buffer, isDirectory: boolean): boolean {
  const flags = isDirectory ? AT_REMOVEDIR : 0;
  return unlinkat(parent, name, flags, [ENOENT, EISDIR, ENOTEMPTY, EBUSY]) !== -EBUSY;
}
