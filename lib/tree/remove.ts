/** Removing a directory tree, whatever is in it, but nothing that is mounted in it. */

import { constants } from 'node:os';
import { failedPrecondition } from '../../kernel/errors.js';
import { AT_FDCWD, AT_REMOVEDIR, EISDIR, ENOENT, ENOTEMPTY, unlinkat } from '../linux/file.js';
import { SystemError } from '../linux/libc.js';
import { type Visit, walkTree } from './walk.js';

const { EBUSY, EPERM } = constants.errno;
const TOLERATED = [ENOENT, EISDIR, ENOTEMPTY, EBUSY, EPERM];
/** Names that an error tells. */
const TOLD = 10;

/** Names of what could not be removed. */
interface Staying {
  /** Something is mounted on it: here, which the walk sees too, or in another place that shows the same file. */
  readonly mounted: string[];
  /** Its attributes, or those of its directory, forbid it (chattr(1)). */
  readonly immutable: string[];
}

const isMissing = (error: unknown): boolean => error instanceof SystemError && error.errno === 'ENOENT';

/**
 * Removes the tree at `root`; yields after each entry. A tree that is not there
 * is fine. FAILED_PRECONDITION, once everything else is gone, when something is
 * mounted inside or immutable: mount points, and what lies under them, stay.
 */
export function* removing(root: string): Generator<void, void, void> {
  const staying: Staying = { mounted: [], immutable: [] };
  try {
    for (const visit of walkTree(root)) {
      if (visit.step !== 'enter') remove(visit, staying);
      yield;
    }
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  checkNothingStays(root, staying);
  unlinkat(AT_FDCWD, root, AT_REMOVEDIR, [ENOENT]);
}

function remove({ step, parent, name }: Visit, { mounted, immutable }: Staying): void {
  const flags = step === 'leave' ? AT_REMOVEDIR : 0;
  const result = step === 'mount' ? -EBUSY : unlinkat(parent, name, flags, TOLERATED);
  const shown = name.toString('utf8', 0, name.length - 1);
  if (result === -EBUSY) mounted.push(shown);
  if (result === -EPERM && immutable.length < TOLD) immutable.push(shown);
}

function checkNothingStays(root: string, { mounted, immutable }: Staying): void {
  if (mounted.length > 0) {
    throw failedPrecondition(`remove "${root}": something is mounted inside it, on "${mounted.join('", "')}"`, {
      remedy: 'unmount it first',
    });
  }
  if (immutable.length > 0) {
    throw failedPrecondition(`remove "${root}": the kernel lets nobody remove "${immutable.join('", "')}"`, {
      remedy: 'see its attributes with lsattr, and take away i and a with chattr',
    });
  }
}
