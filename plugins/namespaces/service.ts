import { type Namespace as NamespaceMessage, NamespacesDefinition } from '../../api/gen/services/namespaces.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { type Namespace, Namespaces } from '../../kernel/contracts/namespaces.js';
import { invalidArgument } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';

const toMessage = ({ name, labels }: Namespace): NamespaceMessage => ({ name, labels: { ...labels } });

function fromMessage(message: NamespaceMessage | undefined): Namespace {
  if (message === undefined) throw invalidArgument('namespace is required');
  return message;
}

/** containerd.services.namespaces.v1.Namespaces over the contract `Namespaces`. */
export const plugin = definePlugin({
  id: 'namespaces-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'namespaces' },
  config: noSettings,
  requires: { namespaces: Namespaces },
  provides: { service: GrpcServices },
  async start({ deps: { namespaces } }) {
    const service = implement(NamespacesDefinition, {
      async get({ name }) {
        return { namespace: toMessage(await namespaces.get(name)) };
      },
      /** The request's `filter` is ignored, as containerd ignores it. */
      async list() {
        return { namespaces: (await namespaces.list()).map(toMessage) };
      },
      async create({ namespace }) {
        return { namespace: toMessage(await namespaces.create(fromMessage(namespace))) };
      },
      async update({ namespace, updateMask }) {
        return { namespace: toMessage(await namespaces.update(fromMessage(namespace), updateMask)) };
      },
      async delete({ name }) {
        await namespaces.delete(name);
        return {};
      },
    });
    return { service };
  },
});
