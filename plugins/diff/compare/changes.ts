/** What differs between two trees, or what an overlay's upper directory says does. */
import type { Stat } from '../../../lib/linux/stat.js';

/** Something of the upper tree; its descriptor is valid until the next change is asked for. */
export interface Visit {
  readonly kind: 'visit';
  /** From the root; a byte string. */
  readonly path: string;
  /** Descriptor of the directory that holds it. */
  readonly parent: number;
  readonly name: string;
  readonly stat: Stat;
  /** False when the lower tree has the very same. */
  readonly isChanged: boolean;
}

/** The lower tree has something at `path`, the upper one has not. */
export interface Deletion {
  readonly kind: 'deletion';
  readonly path: string;
}

/** Nothing of what the lower tree has in the directory at `path` is in the upper one; follows the directory's visit. */
export interface Opaque {
  readonly kind: 'opaque';
  readonly path: string;
}

/** Undefined is a moment to let others work. */
export type Change = Visit | Deletion | Opaque | undefined;

/** In order of a depth-first walk, a directory before what is in it. */
export type Changes = Generator<Change, void, void>;

/** Deeper trees cannot be written as layers: their paths would be longer than any unpacker takes. */
export const MOST_LEVELS = 2048;
