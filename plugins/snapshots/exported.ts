/**
 * Snapshotters lent to another containerd, which has them in its
 * `[proxy_plugins]`. Its names are names of a backend: what it keeps it knows
 * itself, so here everything of it is a root of collection, in a namespace of
 * its own, and nothing shows of that.
 */
import type { Labels, Scope } from '../../kernel/contracts/scope.js';
import type { SnapshotInfo, Snapshots } from '../../kernel/contracts/snapshots.js';
import type { Call } from '../../lib/rpc/definition.js';

export interface ExportSettings {
  /** What a lent snapshotter is called by the other daemon, before its own id. */
  readonly prefix: string;
  readonly namespace: string;
}

const ROOT = 'containerd.io/gc.root';

/** Whose snapshots a call is about. */
export interface Target {
  readonly scope: Scope;
  readonly snapshotter: string;
  /** Labels as they are kept. */
  kept(labels: Labels): Labels;
  /** A snapshot as the caller sees it. */
  shown(info: SnapshotInfo): SnapshotInfo;
}

function withoutRoot({ labels, ...info }: SnapshotInfo): SnapshotInfo {
  const { [ROOT]: _root, ...others } = labels;
  return { ...info, labels: others };
}

/** The snapshotter that the name means: one that is loaded, or one that is lent under the name. */
export function targetOf(snapshots: Snapshots, settings: ExportSettings, name: string, call: Call): Target {
  const lent = name.startsWith(settings.prefix) ? name.slice(settings.prefix.length) : '';
  const loaded = snapshots.names();
  if (loaded.includes(name) || !loaded.includes(lent))
    return { scope: call.scope(), snapshotter: name, kept: (labels) => labels, shown: (info) => info };
  // containerd names no namespace when it calls a proxy plugin: it has made it part of the key.
  return {
    scope: { namespace: settings.namespace, signal: call.signal },
    snapshotter: lent,
    kept: (labels) => ({ ...labels, [ROOT]: new Date().toISOString() }),
    shown: withoutRoot,
  };
}
