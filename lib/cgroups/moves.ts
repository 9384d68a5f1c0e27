/**
 * Moving processes between control groups without the wait. To move one, the
 * kernel shuts out forks on all processors, for which the first mover in a
 * while waits through a grace period of RCU: 8 to 16 ms, a third of what it
 * takes an OCI runtime to make a container. Whoever comes within that time, or
 * as long again after it, waits only for the rest of it, or not at all.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseControlGroups } from '../linux/proc.js';
import { ControlGroup } from './group.js';

let isExpected = false;

/**
 * Some process is about to be moved: lets the wait begin now, by moving this
 * one to where it is, which changes nothing. Never fails: where it cannot be
 * done, the move takes as long as it takes.
 */
export function expectMove(): void {
  if (isExpected) return;
  isExpected = true;
  void moveToOwnPlace()
    .catch(() => undefined)
    .finally(() => {
      isExpected = false;
    });
}

/** Of this process; on other threads, since also the reading waits for movers. Rejects where it may not be done. */
export async function moveToOwnPlace(): Promise<void> {
  const own = ControlGroup.at(parseControlGroups(await readFile('/proc/self/cgroup', 'utf8')));
  const directory = own.directory('pids') ?? own.directory('cpu');
  if (directory !== undefined) await writeFile(join(directory, 'cgroup.procs'), String(process.pid));
}
