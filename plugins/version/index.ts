import { VersionDefinition } from '../../api/gen/services/version.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { REVISION, VERSION } from '../../lib/version.js';

/** Answers which version runs. */
export const plugin = definePlugin({
  id: 'version',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'version' },
  config: noSettings,
  requires: {},
  provides: { service: GrpcServices },
  start: async () => ({
    service: implement(VersionDefinition, { version: async () => ({ version: VERSION, revision: REVISION }) }),
  }),
});
