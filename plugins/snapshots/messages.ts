/** Messages of containerd.services.snapshots.v1 from what the contract says. */
import { type Info, Kind } from '../../api/gen/services/snapshots.js';
import type { SnapshotInfo, SnapshotKind } from '../../kernel/contracts/snapshots.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

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
