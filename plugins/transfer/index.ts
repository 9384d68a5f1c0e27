import { TransferDefinition } from '../../api/gen/services/transfer.js';
import { Archives } from '../../kernel/contracts/archives.js';
import { Distribution } from '../../kernel/contracts/distribution.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Images } from '../../kernel/contracts/images.js';
import { Streams } from '../../kernel/contracts/streams.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { transfer } from './transfer.js';

/** containerd.services.transfer.v1.Transfer: one call whose meaning lies in the types of its source and destination. */
export const plugin = definePlugin({
  id: 'transfer',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'transfer' },
  config: noSettings,
  requires: { archives: Archives, distribution: Distribution, images: Images, streams: Streams },
  provides: { service: GrpcServices },
  start: async ({ deps, log }) => ({
    service: implement(TransferDefinition, {
      async transfer(request, call) {
        await transfer(deps, log, call.scope(), request);
        return {};
      },
    }),
  }),
});
