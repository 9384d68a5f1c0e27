import { DiffDefinition } from '../../api/gen/services/diff.js';
import { Diff } from '../../kernel/contracts/diff.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { fromDescriptorMessage, toDescriptorMessage } from '../../lib/rpc/descriptor.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';

/** containerd.services.diff.v1.Diff over the contract `Diff`. */
export const plugin = definePlugin({
  id: 'diff-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'diff' },
  config: noSettings,
  requires: { diff: Diff },
  provides: { service: GrpcServices },
  start: async ({ deps: { diff } }) => ({
    service: implement(DiffDefinition, {
      async apply({ diff: message, mounts, payloads, syncFs }, call) {
        const scope = call.scope();
        const blob = fromDescriptorMessage(message, 'descriptor of the layer');
        const { signal } = call;
        return {
          applied: toDescriptorMessage(await diff.apply(scope, blob, { mounts, payloads, sync: syncFs, signal })),
        };
      },
      async diff({ left, right, mediaType, ref, labels, sourceDateEpoch }, call) {
        const descriptor = await diff.compare(call.scope(), {
          lower: left,
          upper: right,
          labels,
          ...(mediaType === '' ? {} : { mediaType }),
          ...(ref === '' ? {} : { ref }),
          ...(sourceDateEpoch === undefined ? {} : { sourceDateEpoch: fromTimestamp(sourceDateEpoch) }),
        });
        return { diff: toDescriptorMessage(descriptor) };
      },
    }),
  }),
});
