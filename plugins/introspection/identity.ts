/** Who this daemon is: a UUID that survives restarts. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { failedPrecondition } from '../../kernel/errors.js';
import { isErrno, whileDoing } from '../../lib/errno.js';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

async function readIfThere(path: string): Promise<string> {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const draft = `${path}.new`;
  await using file = await open(draft, 'w', 0o600);
  await file.writeFile(text);
  await file.sync();
  await rename(draft, path);
}

/**
 * The UUID in the file `uuid` of the directory, made on first use.
 * FAILED_PRECONDITION when the file holds something else.
 */
export async function persistentId(directory: string): Promise<string> {
  const path = join(directory, 'uuid');
  const known = (await whileDoing(`reading "${path}"`, readIfThere(path))).trim();
  if (UUID.test(known)) return known;
  if (known !== '')
    throw failedPrecondition(`"${path}" does not hold a UUID`, { remedy: 'remove it to get a new one' });
  const made = randomUUID();
  await whileDoing(`writing "${path}"`, writeDurably(path, made));
  return made;
}
