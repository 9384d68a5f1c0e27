/** The labels by which content refers to other content and to snapshots (containerd, docs/garbage-collection.md). */
import type { Descriptor, Labels } from '../../kernel/contracts/scope.js';
import { labelOf, MAX_LABEL } from '../../lib/labels.js';
import type { ImageManifest } from '../../lib/oci/documents.js';
import { isKnownConfig, isLayer, isManifest } from '../../lib/oci/media-types.js';
import type { Reference } from '../../lib/reference/reference.js';

const REFERENCE = 'containerd.io/gc.ref.content';
const SOURCE = 'containerd.io/distribution.source';

/** The diffID of a layer, once its bytes have proven it. */
export const UNCOMPRESSED = 'containerd.io/uncompressed';

/** On a configuration: the snapshot its layers became. */
export const snapshotReference = (snapshotter: string): string => `containerd.io/gc.ref.snapshot.${snapshotter}`;

function slotOf({ mediaType }: Descriptor): string {
  if (isKnownConfig(mediaType)) return `${REFERENCE}.config`;
  if (isManifest(mediaType)) return `${REFERENCE}.m.`;
  if (isLayer(mediaType)) return `${REFERENCE}.l.`;
  return `${REFERENCE}.`;
}

/** What a manifest or an index refers to: `...content.m.0`, `...content.config`, `...content.l.0`, `...content.l.1`. */
export function childLabels(children: readonly Descriptor[]): Labels {
  const labels: Record<string, string> = {};
  const used = new Map<string, number>();
  for (const child of children) {
    const slot = slotOf(child);
    const index = used.get(slot) ?? 0;
    used.set(slot, index + 1);
    labels[slot.endsWith('.') ? `${slot}${index}` : index === 0 ? slot : `${slot}${index}`] = child.digest;
  }
  return labels;
}

/** Changes the labels of a manifest so that it does not keep its layers. */
export function withoutLayers({ config, layers }: Pick<ImageManifest, 'config' | 'layers'>): Labels {
  const ofLayers = Object.keys(childLabels([config, ...layers])).filter((key) => key.startsWith(`${REFERENCE}.l.`));
  return Object.fromEntries(ofLayers.map((key) => [key, '']));
}

/** Where content came from: one label per registry host, without the port, with the repositories in order. */
export interface Source {
  readonly key: string;
  readonly repository: string;
}

export const sourceOf = ({ host, repository }: Reference): Source => ({
  key: `${SOURCE}.${host.replace(/:\d+$/, '')}`,
  repository,
});

/** The source label with one repository more; undefined when nothing changes or it would become too long. */
export function withSource(current: Labels, source: Source | undefined): Labels | undefined {
  if (!source) return undefined;
  const { key, repository } = source;
  const before = labelOf(current, key);
  const known = before ? before.split(',') : [];
  if (known.includes(repository)) return undefined;
  const value = [...known, repository].sort().join(',');
  return Buffer.byteLength(key) + Buffer.byteLength(value) > MAX_LABEL ? undefined : { [key]: value };
}
