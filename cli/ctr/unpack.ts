/** Unpacking an image that was pulled without, layer by layer: what any client of the API can do. */
import { randomBytes } from 'node:crypto';
import type { Client } from '../../client/index.js';
import { failedPrecondition, hasCode } from '../../kernel/errors.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import type { ImageDescriptor } from '../../lib/oci/descriptor.js';
import type { RunnableImage } from './image.js';

async function exists(client: Client, snapshotter: string, key: string): Promise<boolean> {
  try {
    await client.snapshots.stat({ snapshotter, key });
    return true;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

interface Step {
  readonly layer: ImageDescriptor;
  readonly diffId: string;
  readonly name: string;
  readonly parent: string;
}

async function unpackLayer(client: Client, snapshotter: string, step: Step, lease: string): Promise<void> {
  const key = `extract-${randomBytes(6).toString('hex')} ${step.name}`;
  const { mounts } = await client.snapshots.prepare({ snapshotter, key, parent: step.parent }, { lease });
  try {
    const { digest, size, mediaType } = step.layer;
    const { applied } = await client.diff.apply({ diff: { digest, size: BigInt(size), mediaType }, mounts }, { lease });
    if (applied?.digest !== step.diffId) {
      throw failedPrecondition(`layer "${digest}" unpacks to "${applied?.digest}", not to "${step.diffId}"`);
    }
    await client.snapshots.commit({ snapshotter, key, name: step.name }, { lease });
  } catch (error) {
    await client.snapshots.remove({ snapshotter, key });
    // Somebody else has unpacked the same layer meanwhile: theirs is as good.
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  }
}

/** Makes sure that all layers of the image are snapshots of that snapshotter. */
export async function ensureUnpacked(
  client: Client,
  image: RunnableImage,
  snapshotter: string,
  lease: string,
): Promise<void> {
  const names = chainIds(image.diffIds);
  const top = names.at(-1);
  if (top === undefined || (await exists(client, snapshotter, top))) return;
  for (const [index, name] of names.entries()) {
    const layer = image.layers[index];
    const diffId = image.diffIds[index];
    if (!layer || !diffId || (await exists(client, snapshotter, name))) continue;
    await unpackLayer(client, snapshotter, { layer, diffId, name, parent: names[index - 1] ?? '' }, lease);
  }
  await keepSnapshot(client, image.configDigest, snapshotter, top);
}

/** Ties the snapshots to the image, so that they are collected with it and not before. */
async function keepSnapshot(client: Client, configDigest: string, snapshotter: string, top: string): Promise<void> {
  const label = `containerd.io/gc.ref.snapshot.${snapshotter}`;
  await client.content.update({
    info: { digest: configDigest, labels: { [label]: top } },
    updateMask: [`labels.${label}`],
  });
}
