import { z } from 'zod';
import { SnapshotsDefinition } from '../../api/gen/services/snapshots.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { inChunks } from '../../lib/rpc/chunks.js';
import { implement } from '../../lib/rpc/definition.js';
import { toInt64 } from '../../lib/rpc/int64.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { toInfoMessage } from './messages.js';

/** containerd.services.snapshots.v1.Snapshots over the contract `Snapshots`. */
export const plugin = definePlugin({
  id: 'snapshots-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'snapshots' },
  config: z.object({}).strict(),
  requires: { snapshots: Snapshots },
  provides: { service: GrpcServices },
  async start({ deps: { snapshots } }) {
    const service = implement(SnapshotsDefinition, {
      async prepare({ snapshotter, key, parent, labels }, call) {
        const mounts = await snapshots.prepare(call.scope(), snapshotter, key, parent, labels);
        return { mounts: mounts.map(toMountMessage) };
      },
      async view({ snapshotter, key, parent, labels }, call) {
        const mounts = await snapshots.view(call.scope(), snapshotter, key, parent, labels);
        return { mounts: mounts.map(toMountMessage) };
      },
      async mounts({ snapshotter, key }, call) {
        const mounts = await snapshots.mounts(call.scope(), snapshotter, key);
        return { mounts: mounts.map(toMountMessage) };
      },
      async commit({ snapshotter, name, key, labels, parent }, call) {
        await snapshots.commit(call.scope(), snapshotter, name, key, { labels, ...(parent === '' ? {} : { parent }) });
        return {};
      },
      async remove({ snapshotter, key }, call) {
        await snapshots.remove(call.scope(), snapshotter, key);
        return {};
      },
      async stat({ snapshotter, key }, call) {
        return { info: toInfoMessage(await snapshots.stat(call.scope(), snapshotter, key)) };
      },
      async update({ snapshotter, info, updateMask }, call) {
        const { name = '', labels = {} } = info ?? {};
        return { info: toInfoMessage(await snapshots.update(call.scope(), snapshotter, name, labels, updateMask)) };
      },
      async *list({ snapshotter, filters }, call) {
        for await (const info of inChunks(snapshots.walk(call.scope(), snapshotter, filters))) {
          yield { info: info.map(toInfoMessage) };
        }
      },
      async usage({ snapshotter, key }, call) {
        const { size, inodes } = await snapshots.usage(call.scope(), snapshotter, key);
        return {
          size: toInt64(size, `size of snapshot "${key}"`),
          inodes: toInt64(inodes, `inodes of snapshot "${key}"`),
        };
      },
      async cleanup({ snapshotter }, call) {
        await snapshots.cleanup(call.scope(), snapshotter);
        return {};
      },
    });
    return { service };
  },
});
