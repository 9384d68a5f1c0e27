/** Kills for want of memory, as the kernel tells them to whoever watches the group. */
import { closeSync, constants, existsSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { IN_MODIFY, watchEventfd, watchFile } from '../linux/notify.js';
import type { Watch } from '../linux/poll.js';
import { readTable } from './files.js';
import type { ControlGroup } from './group.js';

export interface OomWatch extends Watch {
  /** Tells now of a kill that the kernel is yet to tell of. */
  look(): void;
}

/**
 * Calls `listener` when processes of the group were killed for want of memory;
 * undefined when memory is not accounted here. Close it before the group goes.
 */
export function watchOom(group: ControlGroup, listener: () => void): OomWatch | undefined {
  const directory = group.directory('memory');
  if (directory === undefined) return undefined;
  return group.version === 1 ? watchControl(directory, listener) : watchEvents(directory, listener);
}

/** Version 1: an eventfd registered in `cgroup.event_control`; it is raised once more when the group is removed. */
function watchControl(directory: string, listener: () => void): OomWatch | undefined {
  if (!existsSync(join(directory, 'memory.oom_control'))) return undefined;
  const watch = watchEventfd(() => {
    if (existsSync(directory)) listener();
  });
  const control = openSync(join(directory, 'memory.oom_control'), constants.O_RDONLY);
  try {
    writeFileSync(join(directory, 'cgroup.event_control'), `${watch.fd} ${control}`);
  } catch (error) {
    watch.close();
    throw error;
  } finally {
    closeSync(control);
  }
  // It is raised before the kill.
  return { close: () => watch.close(), look: () => {} };
}

/**
 * Version 2: `memory.events` is modified, also for other reasons; of changes that follow each other within 10 ms that is
 * told later, when a process that was killed has long ended. The file is missing where memory was not delegated.
 */
function watchEvents(directory: string, listener: () => void): OomWatch | undefined {
  if (!existsSync(join(directory, 'memory.events'))) return undefined;
  const count = (): bigint => readTable(directory, 'memory.events')?.get('oom_kill') ?? 0n;
  let seen = count();
  const look = (): void => {
    const killed = count();
    if (killed > seen) listener();
    seen = killed;
  };
  const watch = watchFile(join(directory, 'memory.events'), IN_MODIFY, look);
  return { close: () => watch.close(), look };
}
