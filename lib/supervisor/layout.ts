/** Where a supervisor is found: a directory of its own, below the state of the runtime. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Holds the directories of supervisors; no namespace begins with a dot. */
const SUPERVISORS = '.s';

/** The supervisor's socket in its directory. */
export const SOCKET = 's';

/** Tells in a supervisor's directory whose it is: namespace and group, a line each. */
const IDENTITY = 'group';

/** An exit that nobody has heard of, of a process that is deleted, is in a file that begins so. */
export const UNTOLD_PREFIX = 'untold-';

export interface SupervisorIdentity {
  readonly namespace: string;
  readonly group: string;
}

/** Whole whenever somebody reads it, also when we are killed at this: without it, nobody is told what the supervisor left. */
export function writeIdentity(directory: string, { namespace, group }: SupervisorIdentity): void {
  const path = join(directory, IDENTITY);
  const text = `${namespace}\n${group}\n`;
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export const hasUntold = (directory: string): boolean =>
  existsSync(directory) && readdirSync(directory).some((file) => file.startsWith(UNTOLD_PREFIX));

/** The supervisors, living or not, that have exits to tell of which no bundle is left. */
export function findUntold(state: string): SupervisorIdentity[] {
  const supervisors = join(state, SUPERVISORS);
  if (!existsSync(supervisors)) return [];
  return readdirSync(supervisors).flatMap((name) => {
    const directory = join(supervisors, name);
    if (!hasUntold(directory)) return [];
    const [namespace = '', group = ''] = readFileSync(join(directory, IDENTITY), 'utf8').split('\n');
    return [{ namespace, group }];
  });
}

/**
 * The directory of the supervisor of a group of tasks. Its name is short, since
 * a socket's path must be; a namespace and the id of a pod need not be.
 */
export const supervisorDirectory = (state: string, group: string): string =>
  join(state, SUPERVISORS, createHash('sha256').update(group).digest('hex').slice(0, 12));

/** Where bundles and supervisors are, in a daemon's state directory; containerd calls it so too. */
export const tasksDirectory = (daemonState: string): string => join(daemonState, 'io.containerd.runtime.v2.task');

/** Where the bundles of tasks are that stock shims run for our daemon. */
export const shimsDirectory = (daemonState: string): string => join(daemonState, 'io.containerd.shim.v1.manager');

/** Where the OCI runtime keeps its own state unless told otherwise. */
export const runtimeRoot = (state: string): string => join(state, '.runtime');
