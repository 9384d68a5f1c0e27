import { StoreDefinition } from '../../api/gen/services/sandbox.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Sandboxes } from '../../kernel/contracts/sandboxes.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { fromSandboxMessage, toSandboxMessage } from '../../lib/rpc/sandbox.js';

/** containerd.services.sandbox.v1.Store over the contract `Sandboxes`. */
export const plugin = definePlugin({
  id: 'sandboxes-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'sandboxes' },
  config: noSettings,
  requires: { sandboxes: Sandboxes },
  provides: { service: GrpcServices },
  async start({ deps: { sandboxes } }) {
    const service = implement(StoreDefinition, {
      async create({ sandbox }, call) {
        return { sandbox: toSandboxMessage(await sandboxes.create(call.scope(), fromSandboxMessage(sandbox))) };
      },
      async update({ sandbox, fields }, call) {
        return { sandbox: toSandboxMessage(await sandboxes.update(call.scope(), fromSandboxMessage(sandbox), fields)) };
      },
      async delete({ sandboxId }, call) {
        await sandboxes.delete(call.scope(), sandboxId);
        return {};
      },
      async list({ filters }, call) {
        return { list: (await sandboxes.list(call.scope(), filters)).map(toSandboxMessage) };
      },
      async get({ sandboxId }, call) {
        return { sandbox: toSandboxMessage(await sandboxes.get(call.scope(), sandboxId)) };
      },
    });
    return { service };
  },
});
