/** Where a supervisor is found: a directory of its own, below the state of the runtime. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** Holds the directories of supervisors; no namespace begins with a dot. */
const SUPERVISORS = '.s';

/** The supervisor's socket in its directory. */
export const SOCKET = 's';

/**
 * The directory of the supervisor of a group of tasks. Its name is short, since
 * a socket's path must be; a namespace and the id of a pod need not be.
 */
export const supervisorDirectory = (state: string, group: string): string =>
  join(state, SUPERVISORS, createHash('sha256').update(group).digest('hex').slice(0, 12));

/** Where bundles and supervisors are, in a daemon's state directory; containerd calls it so too. */
export const tasksDirectory = (daemonState: string): string => join(daemonState, 'io.containerd.runtime.v2.task');

/** Where the OCI runtime keeps its own state unless told otherwise. */
export const runtimeRoot = (state: string): string => join(state, '.runtime');
