/** Removing a directory tree, whatever is in it, but nothing that is mounted in it. */
import { failedPrecondition } from '../../kernel/errors.js';
import { AT_FDCWD, AT_REMOVEDIR, EISDIR, ENOENT, ENOTEMPTY, unlinkat } from '../linux/file.js';
import { SystemError } from '../linux/libc.js';
import { walkTree } from './walk.js';

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
      else if (step === 'leave') unlinkat(parent, name, AT_REMOVEDIR, [ENOENT, ENOTEMPTY]);
      else if (step === 'entry') removeEntry(parent, name, shown, mounts);
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

/** A file can be a mount point too: then unlink(2) says busy. */
function removeEntry(parent: number, name: Buffer, shown: string, mounts: string[]): void {
  try {
    unlinkat(parent, name, 0, [ENOENT, EISDIR]);
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== 'EBUSY') throw error;
    mounts.push(shown);
  }
}
