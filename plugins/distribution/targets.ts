/** Where layers are to be unpacked, with its defaults filled in. */
import type { UnpackTarget } from '../../kernel/contracts/distribution.js';
import type { Namespaces } from '../../kernel/contracts/namespaces.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import type { Snapshots } from '../../kernel/contracts/snapshots.js';
import { invalidArgument } from '../../kernel/errors.js';
import { labelOf } from '../../lib/labels.js';
import { hostPlatform } from '../../lib/oci/platform.js';
import type { ResolvedTarget } from './pull.js';

const DEFAULT_SNAPSHOTTER = 'containerd.io/defaults/snapshotter';

/** To be asked before anything is fetched: an unknown snapshotter (INVALID_ARGUMENT) must not cost a download. */
export async function resolveTargets(
  { snapshots, namespaces }: { readonly snapshots: Snapshots; readonly namespaces: Namespaces },
  scope: Scope,
  targets: readonly UnpackTarget[],
): Promise<readonly ResolvedTarget[]> {
  if (targets.length === 0) return [];
  const known = snapshots.names();
  const { labels } = await namespaces.get(scope.namespace);
  const fallback = labelOf(labels, DEFAULT_SNAPSHOTTER) ?? known[0] ?? '';
  return targets.map(({ platform = hostPlatform(), snapshotter }) => {
    const name = snapshotter === undefined || snapshotter === '' ? fallback : snapshotter;
    if (known.includes(name)) return { platform, snapshotter: name };
    throw invalidArgument(`snapshotter not loaded: "${name}"`, {
      remedy: `loaded are: ${known.join(', ') || 'none'}`,
    });
  });
}
