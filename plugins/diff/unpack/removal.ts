/** Removing what an open directory holds. */

import { failedPrecondition } from '../../../kernel/errors.js';
import { AT_REMOVEDIR, ENOENT, ENOTEMPTY, unlinkat } from '../../../lib/linux/file.js';
import { walkTree } from '../../../lib/tree/walk.js';
import { join } from './names.js';

/**
 * Removes what the directory holds, as far as `goes` says so; a directory stays
 * when something in it does. `goes` is asked with paths relative to the
 * directory. FAILED_PRECONDITION when something is mounted inside.
 */
export function clearDirectory(fd: number, goes: (path: string) => boolean): void {
  const above: string[] = [];
  for (const { step, parent, name } of walkTree(`/proc/self/fd/${fd}`)) {
    const own = name.toString('latin1', 0, name.length - 1);
    const path = join(above.at(-1) ?? '', own);
    switch (step) {
      case 'enter':
        above.push(path);
        break;
      case 'entry':
        if (goes(path)) unlinkat(parent, name, 0, [ENOENT]);
        break;
      case 'leave':
        if (goes(above.pop() ?? '')) unlinkat(parent, name, AT_REMOVEDIR, [ENOENT, ENOTEMPTY]);
        break;
      case 'mount':
        throw failedPrecondition(`something is mounted inside the layer's target, on "${own}"`);
    }
  }
}
