/** Messages of containerd.services.snapshots.v1 from what the contract says. */
import { type Info, Kind } from '../../api/gen/services/snapshots.js';
import type { SnapshotInfo, SnapshotKind } from '../../kernel/contracts/snapshots.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

/** Infos in one message of a list. */
const CHUNK = 100;

const KINDS: Readonly<Record<SnapshotKind, Kind>> = {
  view: Kind.VIEW,
  active: Kind.ACTIVE,
  committed: Kind.COMMITTED,
};

export const toInfoMessage = ({ name, parent, kind, createdAt, updatedAt, labels }: SnapshotInfo): Info => ({
  name,
  parent,
  kind: KINDS[kind],
  createdAt: toTimestamp(createdAt),
  updatedAt: toTimestamp(updatedAt),
  labels: { ...labels },
});

/** The items in lists of a size that suits a message; no empty one. */
export async function* inChunks<T>(items: AsyncIterable<T>, size = CHUNK): AsyncGenerator<T[]> {
  let chunk: T[] = [];
  for await (const item of items) {
    chunk.push(item);
    if (chunk.length < size) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}
