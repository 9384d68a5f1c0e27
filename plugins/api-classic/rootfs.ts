/** `containerd.v1.RootFS` over the contracts `Diff` and `Snapshots`. */
import { randomUUID } from 'node:crypto';
import { RootFSDefinition } from '../../api/gen/classic/rootfs.js';
import type { Diff } from '../../kernel/contracts/diff.js';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import type { Snapshots } from '../../kernel/contracts/snapshots.js';
import { hasCode, invalidArgument } from '../../kernel/errors.js';
import { chainIds } from '../../lib/oci/chain-id.js';
import { implement } from '../../lib/rpc/definition.js';
import { toSize } from '../../lib/rpc/int64.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { kept, type ScopeOf } from './scope.js';

export interface RootfsParts {
  readonly diff: Diff;
  readonly snapshots: Snapshots;
  readonly scopeOf: ScopeOf;
  /** Undefined: the default one. */
  readonly snapshotter: string | undefined;
}

class Unpacking {
  readonly #parts: RootfsParts;
  readonly #scope: Scope;
  readonly #snapshotter: string;
  readonly #diffIds: string[] = [];

  constructor(parts: RootfsParts, scope: Scope, snapshotter: string) {
    this.#parts = parts;
    this.#scope = scope;
    this.#snapshotter = snapshotter;
  }

  get chainId(): string {
    return chainIds(this.#diffIds).at(-1) ?? '';
  }

  /** Unpacks a layer onto those before it. Its name is known only then; one that is there already is as good. */
  async add(layer: Descriptor): Promise<void> {
    const { diff, snapshots } = this.#parts;
    const key = `classic-${randomUUID()}`;
    const mounts = await snapshots.prepare(this.#scope, this.#snapshotter, key, this.chainId, kept());
    try {
      const { digest } = await diff.apply(this.#scope, layer, { mounts });
      this.#diffIds.push(digest);
      await snapshots.commit(this.#scope, this.#snapshotter, this.chainId, key, { labels: kept() });
    } catch (error) {
      await snapshots.remove(this.#scope, this.#snapshotter, key);
      if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
    }
  }
}

export function rootfsService(parts: RootfsParts): GrpcService {
  const { snapshots, scopeOf } = parts;
  const snapshotter = (): string => parts.snapshotter ?? snapshots.names()[0] ?? '';
  return implement(RootFSDefinition, {
    async unpack({ layers }, call) {
      if (layers.length === 0) throw invalidArgument('there are no layers to unpack');
      const unpacking = new Unpacking(parts, scopeOf(call), snapshotter());
      for (const { mediaType, digest, size } of layers)
        await unpacking.add({ mediaType, digest, size: toSize(size, `size of "${digest}"`) });
      return { chainid: unpacking.chainId };
    },
    async prepare({ name, chainId, readonly }, call) {
      const make = readonly ? 'view' : 'prepare';
      const mounts = await snapshots[make](scopeOf(call), snapshotter(), name, chainId, kept());
      return { mounts: mounts.map(toMountMessage) };
    },
    async mounts({ name }, call) {
      return { mounts: (await snapshots.mounts(scopeOf(call), snapshotter(), name)).map(toMountMessage) };
    },
  });
}
