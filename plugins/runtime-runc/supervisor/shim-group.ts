/**
 * The control group that tasks want whatever watches over them to be in (option
 * `shim_cgroup`). A supervisor can only be in one: the first task that names one
 * says which, as with a shim of containerd that serves several.
 */
import { join } from 'node:path';
import { failedPrecondition } from '../../../kernel/errors.js';
import { ControlGroup } from '../../../lib/cgroups/group.js';
import { log } from './log.js';

export class ShimGroup {
  #path: string | undefined;

  /** Moves this process there, unless it was moved before. FAILED_PRECONDITION when there is no such group. */
  join(path: string, id: string): void {
    if (path === '' || path === this.#path) return;
    if (this.#path !== undefined) {
      log('warn', 'option shim_cgroup is ignored: another task said where this supervisor is', { id, path });
      return;
    }
    if (!ControlGroup.everywhere(join('/', path)).take(process.pid)) {
      throw failedPrecondition(`control group "${path}" (option shim_cgroup of task "${id}") does not exist`, {
        remedy: 'make it first',
      });
    }
    this.#path = path;
  }

  /** Nobody is there any more who said where to be: the next task may. */
  release(): void {
    this.#path = undefined;
  }
}
