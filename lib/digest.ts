/**
 * Digests of content: `algorithm:hex`
 * (https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests).
 */
import { createHash, type Hash } from 'node:crypto';
import { invalidArgument } from '../kernel/errors.js';

/** Hexadecimal digits per algorithm. */
const HEX_LENGTH = { sha256: 64, sha384: 96, sha512: 128 } as const;

export type DigestAlgorithm = keyof typeof HEX_LENGTH;

/** The algorithm used when a caller names none. */
export const CANONICAL: DigestAlgorithm = 'sha256';

export const DIGEST_ALGORITHMS: readonly DigestAlgorithm[] = ['sha256', 'sha384', 'sha512'];

export interface Digest {
  readonly algorithm: DigestAlgorithm;
  /** Lower-case hexadecimal digits, as many as the algorithm has. */
  readonly hex: string;
}

const isAlgorithm = (name: string): name is DigestAlgorithm => DIGEST_ALGORITHMS.some((known) => known === name);

/** The parts of a digest, or undefined when it is malformed or of an algorithm unknown here. */
export function tryParseDigest(text: string): Digest | undefined {
  const colon = text.indexOf(':');
  const algorithm = text.slice(0, Math.max(colon, 0));
  const hex = text.slice(colon + 1);
  if (!isAlgorithm(algorithm) || hex.length !== HEX_LENGTH[algorithm] || !/^[0-9a-f]+$/.test(hex)) return undefined;
  return { algorithm, hex };
}

/**
 * The parts of a digest; INVALID_ARGUMENT when it is malformed or of an
 * algorithm unknown here. Call it before any path or URL is built.
 */
export function parseDigest(text: string): Digest {
  const digest = tryParseDigest(text);
  if (digest) return digest;
  const shown = text.length > 140 ? `${text.slice(0, 140)}...` : text;
  throw invalidArgument(
    `digest "${shown}" is not one of ${DIGEST_ALGORITHMS.join(', ')}, a colon and its lower-case hexadecimal digits`,
  );
}

export const isDigest = (text: string): boolean => tryParseDigest(text) !== undefined;

export const formatDigest = (algorithm: DigestAlgorithm, hex: string): string => `${algorithm}:${hex}`;

/** An empty hash of that algorithm. */
export const hasher = (algorithm: DigestAlgorithm): Hash => createHash(algorithm);

/** The digest of bytes that are whole in memory; for manifests and other small documents. */
export const digestOf = (bytes: Uint8Array, algorithm: DigestAlgorithm = CANONICAL): string =>
  formatDigest(algorithm, hasher(algorithm).update(bytes).digest('hex'));
