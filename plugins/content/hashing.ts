import type { Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type DigestAlgorithm, formatDigest, hasher } from '../../lib/digest.js';
import { Sha256 } from '../../lib/sha256.js';

/** Bytes hashed or copied in one go: under a millisecond of the event loop. */
export const CHUNK = 1024 * 1024;

/** A hash that goes on after its digest was asked for. */
interface OpenHash {
  update(chunk: Uint8Array): unknown;
  /** In hexadecimal. */
  digest(): string;
  copy(): OpenHash;
  /** To be saved; only of hashes that can be. */
  state?(): Uint8Array;
}

class RuntimeHash implements OpenHash {
  readonly #hash: Hash;

  constructor(hash: Hash) {
    this.#hash = hash;
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  copy(): RuntimeHash {
    return new RuntimeHash(this.#hash.copy());
  }
}

const openHash = (algorithm: DigestAlgorithm): OpenHash =>
  (algorithm === 'sha256' ? Sha256.open() : undefined) ?? new RuntimeHash(hasher(algorithm));

/** A hash of a known number of bytes. */
export class RunningHash {
  readonly algorithm: DigestAlgorithm;
  readonly #hash: OpenHash;
  #offset: number;

  private constructor(algorithm: DigestAlgorithm, hash: OpenHash, offset: number) {
    this.algorithm = algorithm;
    this.#hash = hash;
    this.#offset = offset;
  }

  /** Of nothing yet. */
  static open(algorithm: DigestAlgorithm): RunningHash {
    return new RunningHash(algorithm, openHash(algorithm), 0);
  }

  /** Of the bytes that it was of when `state` was read; undefined when this runtime cannot go on with it. */
  static restore({ algorithm, offset, state }: HashState): RunningHash | undefined {
    const hash = algorithm === 'sha256' ? Sha256.restore(state) : undefined;
    return hash && new RunningHash(algorithm, hash, offset);
  }

  get offset(): number {
    return this.#offset;
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#offset += chunk.byteLength;
  }

  digest(): string {
    return formatDigest(this.algorithm, this.#hash.digest());
  }

  copy(): RunningHash {
    return new RunningHash(this.algorithm, this.#hash.copy(), this.#offset);
  }

  /** Undefined for a hash that cannot be saved. */
  state(): HashState | undefined {
    const state = this.#hash.state?.();
    return state && { algorithm: this.algorithm, offset: this.#offset, state };
  }
}

/** A hash as it can be saved. */
export interface HashState {
  readonly algorithm: DigestAlgorithm;
  /** Bytes that were hashed. */
  readonly offset: number;
  readonly state: Uint8Array;
}

/** Hashes a file on from where `hash` is up to `size` bytes, or all there are when it is shorter. */
export async function hashFile(file: FileHandle, hash: RunningHash, size: number): Promise<RunningHash> {
  const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(CHUNK, size - hash.offset)));
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

/** Hashes of ingests that were closed before their end; those of a former process are in their directories (saved-hash.ts). */
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
