/** The differs behind the Diff service of a daemon, ours or another: layers go there as content. */
import { randomUUID } from 'node:crypto';
import { connect } from '../../client/index.js';
import type { AppliedLayer, ApplyLayer, CompareTrees, Differ, LayerSink } from '../../kernel/contracts/diff.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { internal } from '../../kernel/errors.js';
import { digestOf } from '../../lib/digest.js';
import { toSize } from '../../lib/rpc/int64.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { readBlob } from '../harness/blob.js';
import { type RemotePlace, remoteStore } from './content.remote.js';
import type { OpenDiffer } from './differ.workbench.js';

/** Mounts as the wire has them: it may change its lists. */
const wire = (mounts: ApplyLayer['mounts']) => mounts.map((mount) => ({ ...mount, options: [...mount.options] }));

/** Opens the differs of the daemon at the socket, in one namespace, which `close` empties. */
export async function remoteDiffer(place: RemotePlace): Promise<OpenDiffer> {
  const namespace = place.namespace ?? `kit-${randomUUID()}`;
  const { store, close } = await remoteStore({ ...place, namespace });
  const client = connect({ address: place.address, namespace });

  async function apply(bytes: Buffer, { mediaType, digest, mounts, sync = false }: ApplyLayer): Promise<AppliedLayer> {
    const name = digestOf(bytes);
    const writer = await store.writer({ ref: randomUUID() });
    try {
      await writer.write(bytes);
      await writer.commit({ expected: digest ?? name }).catch((error: unknown) => {
        if (!(error instanceof Error && 'code' in error && error.code === 'ALREADY_EXISTS')) throw error;
      });
    } finally {
      await writer.close();
    }
    const diff = { mediaType, digest: name, size: BigInt(bytes.length) };
    const { applied } = await client.diff.apply({ diff, mounts: wire(mounts), syncFs: sync });
    if (applied === undefined) throw internal('the answer holds no descriptor of what was applied');
    return { diffId: applied.digest, size: toSize(applied.size, 'size'), unresolved: false };
  }

  const differ: Differ = {
    async open(layer): Promise<LayerSink> {
      const chunks: Buffer[] = [];
      return {
        write: async (chunk) => void chunks.push(Buffer.from(chunk)),
        end: () => apply(Buffer.concat(chunks), layer),
        abort: async () => void chunks.splice(0),
      };
    },
    async compare(_scope: Scope, trees: CompareTrees): Promise<Descriptor> {
      const { lower, upper, mediaType = '', sourceDateEpoch } = trees;
      const { diff } = await client.diff.diff(
        {
          left: wire(lower),
          right: wire(upper),
          mediaType,
          ref: randomUUID(),
          ...(sourceDateEpoch !== undefined && { sourceDateEpoch: toTimestamp(sourceDateEpoch) }),
        },
        { lease: 'kit' },
      );
      if (diff === undefined) throw internal('the answer holds no descriptor of a layer');
      return { mediaType: diff.mediaType, digest: diff.digest, size: toSize(diff.size, 'size') };
    },
  };
  return {
    differ,
    read: ({ digest }) => readBlob({ reader: (_scope, name) => store.reader(name) }, { namespace }, digest),
    async close() {
      client[Symbol.dispose]();
      await close();
    },
  };
}
