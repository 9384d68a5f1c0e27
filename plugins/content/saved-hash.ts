/**
 * The hash of an ingest, kept beside its bytes in the file `hash`: whoever resumes it in another process hashes only what
 * came since. It costs nothing but time when it is absent, damaged or of another runtime.
 */
import { readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { bootId } from '../../lib/boot.js';
import { DIGEST_ALGORITHMS, type DigestAlgorithm } from '../../lib/digest.js';
import { RunningHash } from './hashing.js';
import { unlessMissing } from './ingest.js';
import { syncDirectory } from './sync-directory.js';

/** Bytes below which hashing again is quicker than saving. */
const WORTH_SAVING = 4 << 20;

/**
 * `boot`: of the machine when its bytes were not flushed yet; another boot may not have them. Made when an ingest is
 * resumed, which a start does without.
 */
const savedSchema = () =>
  z.object({
    openssl: z.literal(process.versions.openssl),
    algorithm: z.enum(DIGEST_ALGORITHMS),
    offset: z.int().min(0),
    state: z.base64(),
    boot: z.string().optional(),
  });

const fileIn = (directory: string): string => join(directory, 'hash');

/** `isFlushed`: whether the bytes that it is of are on disk. */
export async function saveHash(directory: string, hash: RunningHash, isFlushed: boolean): Promise<void> {
  const current = hash.offset < WORTH_SAVING ? undefined : hash.state();
  if (current === undefined) return;
  const { algorithm, offset, state } = current;
  const fields: z.input<ReturnType<typeof savedSchema>> = {
    openssl: process.versions.openssl,
    algorithm,
    offset,
    state: Buffer.from(state).toString('base64'),
    ...(isFlushed ? {} : { boot: bootId() }),
  };
  const draft = `${fileIn(directory)}.new`;
  await writeFile(draft, JSON.stringify(fields));
  await rename(draft, fileIn(directory));
}

/** To be called before bytes are changed that were hashed. */
export async function forgetHash(directory: string): Promise<void> {
  const removed = await unlessMissing(unlink(fileIn(directory)).then(() => true));
  // It must not come back by a power cut that the new bytes survive.
  if (removed) await syncDirectory(directory);
}

/** The hash of the first bytes of an ingest of `size` bytes, as many as are known of. */
export async function savedHash(directory: string, algorithm: DigestAlgorithm, size: number): Promise<RunningHash> {
  const text = await unlessMissing(readFile(fileIn(directory), 'utf8'));
  const found = text === undefined ? undefined : savedSchema().safeParse(parsed(text)).data;
  const isSound = found?.boot === undefined || found.boot === bootId();
  if (!found || !isSound || found.algorithm !== algorithm || found.offset > size) return RunningHash.open(algorithm);
  return RunningHash.restore({ ...found, state: Buffer.from(found.state, 'base64') }) ?? RunningHash.open(algorithm);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}
