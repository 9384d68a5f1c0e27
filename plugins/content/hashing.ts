import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type DigestAlgorithm, formatDigest, hasher } from '../../lib/digest.js';

/** Bytes hashed or copied in one go: under a millisecond of the event loop. */
export const CHUNK = 1024 * 1024;

/** A hash of a known number of bytes. */
export class RunningHash {
  readonly algorithm: DigestAlgorithm;
  #hash: Hash;
  #offset = 0;

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm;
    this.#hash = hasher(algorithm);
  }

  get offset(): number {
    return this.#offset;
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#offset += chunk.byteLength;
  }

  digest(): string {
    return formatDigest(this.algorithm, this.#hash.copy().digest('hex'));
  }

  copy(): RunningHash {
    const copy = new RunningHash(this.algorithm);
    copy.#hash = this.#hash.copy();
    copy.#offset = this.#offset;
    return copy;
  }
}

/** Hashes the first `size` bytes of a file, or all there are when it is shorter. */
export async function hashFile(file: FileHandle, algorithm: DigestAlgorithm, size: number): Promise<RunningHash> {
  const hash = new RunningHash(algorithm);
  const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(CHUNK, size)));
  while (hash.offset < size) {
    const wanted = Math.min(buffer.byteLength, size - hash.offset);
    const { bytesRead } = await file.read(buffer, 0, wanted, hash.offset);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
  }
  return hash;
}

/** Hashes kept in memory of closed ingests; beyond it the oldest is forgotten and costs a reading of its file. */
const KEPT = 256;

/**
 * Hashes of ingests that were closed before their end. The state of a hash
 * cannot be saved to disk here, so it lives as long as the process; after a
 * restart the bytes on disk are hashed again.
 */
export class SuspendedHashes {
  readonly #kept = new Map<string, RunningHash>();

  keep(ref: string, hash: RunningHash): void {
    this.#kept.delete(ref);
    this.#kept.set(ref, hash);
    const oldest = this.#kept.keys().next();
    if (this.#kept.size > KEPT && !oldest.done) this.#kept.delete(oldest.value);
  }

  /** The hash of exactly `size` bytes, removed from here. */
  take(ref: string, algorithm: DigestAlgorithm, size: number): RunningHash | undefined {
    const hash = this.#kept.get(ref);
    this.#kept.delete(ref);
    return hash?.algorithm === algorithm && hash.offset === size ? hash : undefined;
  }

  forget(ref: string): void {
    this.#kept.delete(ref);
  }
}
