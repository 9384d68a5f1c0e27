import { type Lease as LeaseMessage, LeasesDefinition, type Resource } from '../../api/gen/services/leases.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { type Lease, type LeaseResource, Leases } from '../../kernel/contracts/leases.js';
import { invalidArgument } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

const toMessage = ({ id, createdAt, labels }: Lease): LeaseMessage => ({
  id,
  createdAt: toTimestamp(createdAt),
  labels: { ...labels },
});

function fromMessage(message: Resource | undefined): LeaseResource {
  if (message === undefined) throw invalidArgument('resource is required');
  return message;
}

/** containerd.services.leases.v1.Leases over the contract `Leases`. */
export const plugin = definePlugin({
  id: 'leases-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'leases' },
  config: noSettings,
  requires: { leases: Leases },
  provides: { service: GrpcServices },
  async start({ deps: { leases } }) {
    const service = implement(LeasesDefinition, {
      async create({ id, labels }, call) {
        return { lease: toMessage(await leases.create(call.scope(), { id, labels })) };
      },
      async delete({ id, sync }, call) {
        await leases.delete(call.scope(), id, { sync });
        return {};
      },
      async list({ filters }, call) {
        return { leases: (await leases.list(call.scope(), filters)).map(toMessage) };
      },
      async addResource({ id, resource }, call) {
        await leases.addResource(call.scope(), id, fromMessage(resource));
        return {};
      },
      async deleteResource({ id, resource }, call) {
        await leases.deleteResource(call.scope(), id, fromMessage(resource));
        return {};
      },
      async listResources({ id }, call) {
        const resources = await leases.resources(call.scope(), id);
        return { resources: resources.map(({ id: resource, type }) => ({ id: resource, type })) };
      },
    });
    return { service };
  },
});
