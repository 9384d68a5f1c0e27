import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type DigestAlgorithm, parseDigest } from '../../lib/digest.js';

/** Where things are in a store: `blobs/<algorithm>/<hex>` and `ingest/<sha256 of the ref>/`. */
export class StorePaths {
  readonly root: string;
  readonly blobs: string;
  readonly ingests: string;

  constructor(root: string) {
    this.root = root;
    this.blobs = join(root, 'blobs');
    this.ingests = join(root, 'ingest');
  }

  algorithm(algorithm: DigestAlgorithm): string {
    return join(this.blobs, algorithm);
  }

  /** INVALID_ARGUMENT for a malformed digest. */
  blob(digest: string): string {
    const { algorithm, hex } = parseDigest(digest);
    return join(this.algorithm(algorithm), hex);
  }

  /** Hashed: a ref may hold any characters, and be long. */
  ingest(ref: string): string {
    return join(this.ingests, createHash('sha256').update(ref).digest('hex'));
  }
}
