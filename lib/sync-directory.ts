import { closeSync, constants, fsync, openSync } from 'node:fs';
import { promisify } from 'node:util';

const sync = promisify(fsync);

/** Resolves when the names in the directory are on disk; rejects with Node's error, at once when it cannot be opened. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await sync(directory);
  } finally {
    closeSync(directory);
  }
}
