/**
 * Unpacks layers with the real differ, and stacks of them in each of the forms
 * that snapshotters ask for, so that the resulting trees can be compared.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import type { AppliedLayer, ApplyLayer } from '../../kernel/contracts/diff.js';
import type { Mount } from '../../kernel/contracts/snapshots.js';
import { withMounts } from '../../lib/linux/mount.js';
import { overlayLowers } from '../../lib/linux/overlay.js';
import { OCI_LAYER } from '../../lib/oci/media-types.js';
import { LayerComparer } from '../../plugins/diff/compare/compare.js';
import { WalkingDiffer } from '../../plugins/diff/differ.js';
import { WorkerPool } from '../../plugins/diff/pool.js';
import type { LayerLimits } from '../../plugins/diff/unpack/layer.js';
import { MemoryContent } from './content.js';
import { type DescribeOptions, describeTree, type TreeEntry } from './tree.js';

const GENEROUS: LayerLimits = { bytes: 2 ** 40, ratio: 1000, inodes: 10_000_000 };

export const bind = (source: string): Mount => ({ type: 'bind', source, target: '', options: ['rw', 'rbind'] });

export class TestDiffer implements AsyncDisposable {
  /** Where compared layers go. */
  readonly content = new MemoryContent();
  readonly pool: WorkerPool;
  readonly differ: WalkingDiffer;

  constructor(limits: Partial<LayerLimits> = {}, mountDirectory = '/tmp', workers?: number, idle?: number) {
    this.pool = new WorkerPool(pino({ level: 'silent' }), workers, idle);
    this.differ = new WalkingDiffer({
      pool: this.pool,
      comparer: async () => new LayerComparer(this.content, mountDirectory),
      limits: { ...GENEROUS, ...limits },
      mountDirectory,
    });
  }

  /** Unpacks the bytes of a layer, a plain tar archive unless `rest` says otherwise. */
  async apply(bytes: Buffer, layer: Partial<ApplyLayer> & Pick<ApplyLayer, 'mounts'>): Promise<AppliedLayer> {
    const sink = await this.differ.open({ mediaType: OCI_LAYER, ...layer });
    try {
      await sink.write(bytes);
      return await sink.end();
    } finally {
      await sink.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.close();
  }
}

/** `plain`: one tree, layer upon layer. `overlay`: directories on top of each other. `detached`: as these, made apart. */
export type Form = 'plain' | 'overlay' | 'detached';

export const FORMS: readonly Form[] = ['plain', 'overlay', 'detached'];

const directoryOf = (root: string, layer: number): string => join(root, `layer-${layer}`);

/** Topmost first. */
const lowersBelow = (root: string, layer: number): string[] =>
  Array.from({ length: layer }, (_, index) => directoryOf(root, layer - 1 - index));

function mountsFor(form: Form, root: string, layer: number): Mount[] {
  if (form === 'plain') return [bind(directoryOf(root, 0))];
  const upper = directoryOf(root, layer);
  if (layer === 0 || form === 'detached') return [bind(upper)];
  const lowers = overlayLowers(lowersBelow(root, layer));
  const options = [`upperdir=${upper}`, `workdir=${upper}-work`, `lowerdir=${lowers}`];
  return [{ type: 'overlay', source: 'overlay', target: '', options }];
}

/** The mounts that show `count` layers merged. */
function viewOf(form: Form, root: string, count: number): Mount[] {
  if (form === 'plain' || count === 1) return [bind(directoryOf(root, 0))];
  const options = [`lowerdir=${overlayLowers(lowersBelow(root, count))}`];
  return [{ type: 'overlay', source: 'overlay', target: '', options }];
}

export interface StackOptions extends DescribeOptions {
  /** Looks at the merged tree while it can be seen. */
  readonly inspect?: (root: string) => void;
}

/** A plain tar archive, or a layer of another media type. */
export type LayerBytes = Buffer | { readonly bytes: Buffer; readonly mediaType: string };

const asLayer = (layer: LayerBytes): { readonly bytes: Buffer; readonly mediaType: string } =>
  Buffer.isBuffer(layer) ? { bytes: layer, mediaType: OCI_LAYER } : layer;

/**
 * Unpacks the layers on top of each other below `root` and describes what is
 * seen then, the root left out. A detached layer that needs its parents is
 * unpacked again on top of them, as a puller does.
 */
export async function unpackStack(
  { differ }: Pick<TestDiffer, 'differ'>,
  layers: readonly LayerBytes[],
  form: Form,
  root: string,
  { inspect, ...describe }: StackOptions = {},
): Promise<TreeEntry[]> {
  for (const [index, layer] of layers.entries()) {
    const { bytes, mediaType } = asLayer(layer);
    if (form !== 'plain' || index === 0) mkdirSync(directoryOf(root, index), { mode: 0o755 });
    const detached = form === 'detached' && index > 0;
    const parents = async (): Promise<Mount[]> => viewOf('overlay', root, index);
    const open = { mediaType, mounts: mountsFor(form, root, index), ...(detached ? { detached, parents } : {}) };
    const sink = await differ.open(open);
    await sink.write(bytes);
    const { unresolved } = await sink.end();
    if (unresolved) await reapply(differ, layer, root, index);
  }
  return withMounts(
    viewOf(form, root, layers.length),
    (merged) => {
      inspect?.(merged);
      return describeTree(merged, { withoutRoot: true, ...describe });
    },
    { directory: root },
  );
}

async function reapply(differ: WalkingDiffer, layer: LayerBytes, root: string, index: number): Promise<void> {
  const directory = directoryOf(root, index);
  rmSync(directory, { recursive: true });
  mkdirSync(directory, { mode: 0o755 });
  const { bytes, mediaType } = asLayer(layer);
  const sink = await differ.open({ mediaType, mounts: mountsFor('overlay', root, index) });
  await sink.write(bytes);
  await sink.end();
}
