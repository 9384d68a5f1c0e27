/**
 * After a power cut: snapshots whose files may not have reached the disk are
 * unpacked again, each from the blob of its layer, before anything uses them.
 */
import type { Logger } from 'pino';
import type { Content, ContentInfo } from '../../kernel/contracts/content.js';
import type { Diff } from '../../kernel/contracts/diff.js';
import type { DoubtfulSnapshot, Mount, SnapshotDoubts } from '../../kernel/contracts/snapshots.js';
import { dataLoss } from '../../kernel/errors.js';
import { labelOf } from '../../lib/labels.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import { layerMediaType } from './manifest-layers.js';

const UNCOMPRESSED = 'containerd.io/uncompressed';

export interface RebuildParts {
  readonly content: Content;
  readonly diff: Diff;
  readonly doubts: SnapshotDoubts;
  readonly log: Logger;
  /** Aborted when the daemon stops; what is left is done by the next. */
  readonly signal: AbortSignal;
}

/** Never rejects. What no layer makes, such as a commit of a container, stays as the disk has it. */
export async function rebuildDoubtful(parts: RebuildParts): Promise<void> {
  const { doubts, log, signal } = parts;
  const doubtful = doubts.list();
  if (doubtful.length > 0)
    log.warn({ count: doubtful.length }, 'snapshots were not on disk at the last shutdown: made again');
  for (const snapshot of doubtful) {
    if (signal.aborted) return;
    const { namespace, snapshotter, name } = snapshot;
    try {
      const done = await rebuild(parts, snapshot);
      if (!done)
        log.warn({ namespace, snapshotter, name }, 'no layer is here to make the snapshot again: kept as it is');
    } catch (error) {
      log.error({ err: error, namespace, snapshotter, name }, 'the snapshot could not be made again');
    }
  }
  doubts.settled();
}

/** False when its layer is not here. */
async function rebuild({ content, diff, doubts, signal }: RebuildParts, snapshot: DoubtfulSnapshot): Promise<boolean> {
  const { namespace, name } = snapshot;
  const layer = await findLayer(content, snapshot);
  if (!layer) return false;
  const { digest, size } = layer;
  const blob = { mediaType: await layerMediaType(content, namespace, digest), digest, size };
  await doubts.rebuild(snapshot, async (mounts: readonly Mount[]) => {
    const applied = await diff.apply({ namespace }, blob, { mounts, sync: true, signal });
    if (applied.digest !== labelOf(layer.labels, UNCOMPRESSED))
      throw dataLoss(`layer "${digest}" of snapshot "${name}" unpacks to "${applied.digest}"`);
  });
  return true;
}

/** The blob that makes the snapshot's chain ID on top of its parent's. */
async function findLayer(
  content: Content,
  { namespace, name, parent }: DoubtfulSnapshot,
): Promise<ContentInfo | undefined> {
  for await (const info of content.walk({ namespace }, [`labels.${JSON.stringify(UNCOMPRESSED)}`])) {
    const diffId = labelOf(info.labels, UNCOMPRESSED) ?? '';
    const chain = parent === '' ? [diffId] : [parent, diffId];
    if (chainIds(chain).at(-1) === name) return info;
  }
  return undefined;
}
