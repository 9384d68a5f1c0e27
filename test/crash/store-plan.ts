/** What a store that is killed again and again is told to do, and what it says of it. */

/** An image in the registry, and what its files hold when it is unpacked: by path, the digest of their bytes. */
export interface PlannedImage {
  readonly reference: string;
  readonly digests: readonly string[];
  readonly chain: readonly string[];
  readonly files: Readonly<Record<string, string>>;
}

/** `unknown`: the call that would have changed it was never answered. */
export type Presence = 'present' | 'absent' | 'unknown';

export interface Plan {
  readonly seed: number;
  readonly images: readonly PlannedImage[];
  /** What was acknowledged before: by reference, and by the number of a commit. */
  readonly expected: Readonly<Record<string, Presence>>;
  /** `sync` of `differs`. Default: its own. */
  readonly sync?: 'background' | 'full';
}

export type Deed = 'pull' | 'delete' | 'commit' | 'remove' | 'collect';

/** A line of the store: it began a deed, by which a thing changes, and what that is once it is answered. */
export type Line =
  | { readonly event: 'verified' }
  | { readonly event: 'begins'; readonly deed: Deed; readonly what?: string }
  | { readonly event: 'answered'; readonly what?: string; readonly presence?: Presence }
  | { readonly event: 'wrong'; readonly message: string };

export const SNAPSHOTTER = 'overlayfs';
export const SCOPE = { namespace: 'default' };

/** Names of what the store commits by itself: a blob and a snapshot, both roots. */
export const commitName = (index: number): string => `own-${index}`;
export const COMMITS = 4;
