import { z } from 'zod';
import { SnapshotsDefinition } from '../../api/gen/services/snapshots.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Snapshots } from '../../kernel/contracts/snapshots.js';
import { definePlugin } from '../../kernel/plugin.js';
import { inChunks } from '../../lib/rpc/chunks.js';
import { type Call, implement } from '../../lib/rpc/definition.js';
import { toInt64 } from '../../lib/rpc/int64.js';
import { toMountMessage } from '../../lib/rpc/mount.js';
import { targetOf } from './exported.js';
import { toInfoMessage } from './messages.js';

/** containerd.services.snapshots.v1.Snapshots over the contract `Snapshots`. */
export const plugin = definePlugin({
  id: 'snapshots-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'snapshots' },
  config: z
    .object({
      export_prefix: z
        .string()
        .min(1)
        .default('keelson-')
        .describe('another containerd has our snapshotters as proxy plugins of their id with this before it'),
      export_namespace: z
        .string()
        .default('keelson.exported')
        .describe('namespace that holds the snapshots of such a containerd'),
    })
    .strict(),
  requires: { snapshots: Snapshots },
  provides: { service: GrpcServices },
  async start({ config, deps: { snapshots } }) {
    const lending = { prefix: config.export_prefix, namespace: config.export_namespace };
    const at = (name: string, call: Call) => targetOf(snapshots, lending, name, call);
    const service = implement(SnapshotsDefinition, {
      async prepare({ snapshotter, key, parent, labels }, call) {
        const to = at(snapshotter, call);
        const mounts = await snapshots.prepare(to.scope, to.snapshotter, key, parent, to.kept(labels));
        return { mounts: mounts.map(toMountMessage) };
      },
      async view({ snapshotter, key, parent, labels }, call) {
        const to = at(snapshotter, call);
        const mounts = await snapshots.view(to.scope, to.snapshotter, key, parent, to.kept(labels));
        return { mounts: mounts.map(toMountMessage) };
      },
      async mounts({ snapshotter, key }, call) {
        const to = at(snapshotter, call);
        const mounts = await snapshots.mounts(to.scope, to.snapshotter, key);
        return { mounts: mounts.map(toMountMessage) };
      },
      async commit({ snapshotter, name, key, labels, parent }, call) {
        const to = at(snapshotter, call);
        const rebase = parent === '' ? {} : { parent };
        await snapshots.commit(to.scope, to.snapshotter, name, key, { labels: to.kept(labels), ...rebase });
        return {};
      },
      async remove({ snapshotter, key }, call) {
        const to = at(snapshotter, call);
        await snapshots.remove(to.scope, to.snapshotter, key);
        return {};
      },
      async stat({ snapshotter, key }, call) {
        const to = at(snapshotter, call);
        return { info: toInfoMessage(to.shown(await snapshots.stat(to.scope, to.snapshotter, key))) };
      },
      async update({ snapshotter, info, updateMask }, call) {
        const { name = '', labels = {} } = info ?? {};
        const to = at(snapshotter, call);
        const updated = await snapshots.update(to.scope, to.snapshotter, name, to.kept(labels), updateMask);
        return { info: toInfoMessage(to.shown(updated)) };
      },
      async *list({ snapshotter, filters }, call) {
        const to = at(snapshotter, call);
        for await (const info of inChunks(snapshots.walk(to.scope, to.snapshotter, filters))) {
          yield { info: info.map(to.shown).map(toInfoMessage) };
        }
      },
      async usage({ snapshotter, key }, call) {
        const to = at(snapshotter, call);
        const { size, inodes } = await snapshots.usage(to.scope, to.snapshotter, key);
        return {
          size: toInt64(size, `size of snapshot "${key}"`),
          inodes: toInt64(inodes, `inodes of snapshot "${key}"`),
        };
      },
      async cleanup({ snapshotter }, call) {
        const to = at(snapshotter, call);
        await snapshots.cleanup(to.scope, to.snapshotter);
        return {};
      },
    });
    return { service };
  },
});
