import { type Container as ContainerMessage, ContainersDefinition } from '../../api/gen/services/containers.js';
import { type Container, Containers, type NewContainer } from '../../kernel/contracts/containers.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { invalidArgument } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

const toMessage = ({
  labels,
  runtime,
  spec,
  createdAt,
  updatedAt,
  extensions,
  ...rest
}: Container): ContainerMessage => ({
  ...rest,
  labels: { ...labels },
  runtime: { name: runtime.name, options: runtime.options },
  spec,
  createdAt: toTimestamp(createdAt),
  updatedAt: toTimestamp(updatedAt),
  extensions: { ...extensions },
});

/** Absent parts become empty ones: which of them must be there is for the contract to say. */
function fromMessage(message: ContainerMessage | undefined): NewContainer {
  if (message === undefined) throw invalidArgument('container is required');
  const { id, labels, image, runtime, spec, snapshotter, snapshotKey, extensions, sandbox } = message;
  return {
    id,
    labels,
    image,
    runtime: { name: runtime?.name ?? '', ...(runtime?.options && { options: runtime.options }) },
    spec: spec ?? { typeUrl: '', value: new Uint8Array() },
    snapshotter,
    snapshotKey,
    extensions,
    sandbox,
  };
}

/** containerd.services.containers.v1.Containers over the contract `Containers`. */
export const plugin = definePlugin({
  id: 'containers-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'containers' },
  config: noSettings,
  requires: { containers: Containers },
  provides: { service: GrpcServices },
  async start({ deps: { containers } }) {
    const service = implement(ContainersDefinition, {
      async get({ id }, call) {
        return { container: toMessage(await containers.get(call.scope(), id)) };
      },
      async list({ filters }, call) {
        return { containers: (await containers.list(call.scope(), filters)).map(toMessage) };
      },
      async *listStream({ filters }, call) {
        for (const container of await containers.list(call.scope(), filters)) yield { container: toMessage(container) };
      },
      async create({ container }, call) {
        return { container: toMessage(await containers.create(call.scope(), fromMessage(container))) };
      },
      async update({ container, updateMask }, call) {
        return { container: toMessage(await containers.update(call.scope(), fromMessage(container), updateMask)) };
      },
      async delete({ id }, call) {
        await containers.delete(call.scope(), id);
        return {};
      },
    });
    return { service };
  },
});
