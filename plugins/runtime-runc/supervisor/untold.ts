/**
 * Exits of processes that were deleted before anybody confirmed to have heard
 * of them. Their records are gone with them, so each waits in a file of its own,
 * in the supervisor's directory, in case the supervisor dies before it is told.
 */
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { TaskExit } from '../../../api/gen/events/task.js';
import { UNTOLD_PREFIX } from '../../../lib/supervisor/layout.js';

const PART = '.part';

/** Writes one down; call what is returned once it has been told. */
export function keepUntold(exit: TaskExit): () => void {
  const name = `${UNTOLD_PREFIX}${randomUUID()}`;
  writeFileSync(`${name}${PART}`, TaskExit.encode(exit).finish(), { mode: 0o600 });
  renameSync(`${name}${PART}`, name);
  return () => rmSync(name, { force: true });
}

export interface Untold {
  readonly exit: TaskExit;
  /** Call it once the exit has been told. */
  readonly told: () => void;
}

/** What an earlier supervisor of this directory wrote down. */
export function readUntold(): Untold[] {
  const names = readdirSync('.').filter((name) => name.startsWith(UNTOLD_PREFIX));
  for (const name of names.filter((name) => name.endsWith(PART))) rmSync(name);
  return names
    .filter((name) => !name.endsWith(PART))
    .map((name) => ({
      exit: TaskExit.decode(readFileSync(name)),
      told: () => rmSync(name, { force: true }),
    }));
}
