/** The two trees to compare, found behind their mounts; mounted, and read-only, where they have to be. */
import type { CompareTrees } from '../../../kernel/contracts/diff.js';
import type { Mount } from '../../../kernel/contracts/snapshots.js';
import { withMounts } from '../../../lib/linux/mount.js';
import { overlayDirectories, readOnlyOverlay } from '../../../lib/linux/overlay.js';
import { bindSource, directTarget } from '../target.js';
import { Lowers } from '../unpack/lowers.js';
import { opaqueXattr } from '../unpack/tree.js';
import type { OverlayUpper } from './upper.js';

export interface Sides {
  /** Undefined for an empty tree. */
  readonly lower: string | undefined;
  readonly upper: string;
  /** The upper tree's own directory, when it is an overlay on exactly the lower tree. */
  readonly overlay: OverlayUpper | undefined;
}

/** The same mounts, but nothing can be written through them. */
function readOnly(mount: Mount): Mount {
  if (mount.type === 'overlay') return { ...mount, options: readOnlyOverlay(mount.options) };
  return { ...mount, options: [...mount.options.filter((option) => option !== 'rw'), 'ro'] };
}

function withTree<T>(mounts: readonly Mount[], directory: string, work: (root: string) => Promise<T>): Promise<T> {
  const source = bindSource(mounts);
  return source === undefined ? withMounts(mounts.map(readOnly), work, { directory }) : work(source);
}

/** The layers that a read-only list of mounts shows, topmost first. */
function layersOf(mounts: readonly Mount[]): readonly string[] | undefined {
  const source = bindSource(mounts);
  if (source !== undefined) return [source];
  const [mount] = mounts;
  if (mounts.length !== 1 || mount?.type !== 'overlay') return undefined;
  const directories = overlayDirectories(mount.options);
  return directories && directories.upper === undefined ? directories.lowers : undefined;
}

/** Runs `work` with what the upper tree's overlay has of its own, if it lies on exactly the lower tree. */
async function withOverlay<T>(
  { lower, upper }: CompareTrees,
  work: (overlay: OverlayUpper | undefined) => Promise<T>,
): Promise<T> {
  const target = directTarget(upper);
  const layers = layersOf(lower);
  const isSame = target?.lowers !== undefined && target.lowers.join('\0') === layers?.join('\0');
  if (!isSame || !target.lowers) return work(undefined);
  const lowers = new Lowers(target.lowers, opaqueXattr(target.xattrs));
  try {
    return await work({ root: target.root, lowers, prefix: `${target.xattrs}.overlay.` });
  } finally {
    lowers.close();
  }
}

/** Runs `work` with both trees in view. */
export function withSides<T>(trees: CompareTrees, directory: string, work: (sides: Sides) => Promise<T>): Promise<T> {
  return withOverlay(trees, (overlay) =>
    withTree(trees.upper, directory, (upper) =>
      trees.lower.length === 0
        ? work({ lower: undefined, upper, overlay })
        : withTree(trees.lower, directory, (lower) => work({ lower, upper, overlay })),
    ),
  );
}
