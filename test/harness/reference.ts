/** What other tools make of an image, and how our trees may differ from theirs. */
import { join } from 'node:path';
import { succeed } from './command.js';
import { describeTree, type TreeEntry, treeDifferences } from './tree.js';

/** Unpacks an OCI layout with `umoci unpack` below `place`, which must not exist, and describes the tree. */
export async function umociTree(layout: string, place: string): Promise<TreeEntry[]> {
  await succeed('umoci', ['unpack', '--image', `${layout}:latest`, place], { timeout: 120_000 });
  return describeTree(join(place, 'rootfs'), { withoutRoot: true });
}

const started = BigInt(Date.now()) * 1_000_000n;

/**
 * Differences between our tree and another tool's, but for three that are right: containerd takes times before
 * 1970 as the epoch, and so do we; directories that no layer describes have the time of their making, in GNU tar
 * others too; and an overlay counts names of a file that an upper layer has deleted.
 */
export function differencesFrom(
  expected: readonly TreeEntry[],
  actual: readonly TreeEntry[],
  isOverlay = false,
): string[] {
  const untimed = new Set(expected.filter(({ mtime }) => mtime >= started).map(({ path }) => path));
  const comparable = (entry: TreeEntry): TreeEntry => ({
    ...entry,
    mtime: untimed.has(entry.path) || entry.mtime < 0n ? 0n : entry.mtime,
  });
  return treeDifferences(actual.map(comparable), expected.map(comparable), isOverlay ? ['nlink'] : []);
}
