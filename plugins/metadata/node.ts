/** Nodes of the graph that the collector walks: everything that can be kept or collected. */

export type NodeType = 'lease' | 'image' | 'content' | 'snapshot' | 'ingest' | 'container' | 'sandbox';

export interface Node {
  readonly type: NodeType;
  /** Held by a flat lease: kept itself, but not what it refers to by label. */
  readonly flat: boolean;
  readonly namespace: string;
  /** Id, name, digest or ref; of a snapshot `snapshotter/key`. */
  readonly key: string;
}

const node =
  (type: NodeType) =>
  (namespace: string, key: string, flat = false): Node => ({ type, flat, namespace, key });

export const leaseNode = node('lease');
export const imageNode = node('image');
export const contentNode = node('content');
export const ingestNode = node('ingest');
export const containerNode = node('container');
export const sandboxNode = node('sandbox');

export const snapshotNode = (namespace: string, snapshotter: string, key: string, flat = false): Node => ({
  type: 'snapshot',
  flat,
  namespace,
  key: `${snapshotter}/${key}`,
});

/** Snapshotter and key of a snapshot's node; undefined when a label made up a key without a slash. */
export function splitSnapshot({ key }: Node): readonly [snapshotter: string, key: string] | undefined {
  const slash = key.indexOf('/');
  return slash < 0 ? undefined : [key.slice(0, slash), key.slice(slash + 1)];
}

/** The same for equal nodes, flat or not: a namespace holds no NUL. */
export const identity = ({ type, namespace, key }: Node): string => `${type}\0${namespace}\0${key}`;
