import { ImagesDefinition } from '../../api/gen/services/images.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Images } from '../../kernel/contracts/images.js';
import { definePlugin } from '../../kernel/plugin.js';
import { noSettings } from '../../lib/no-settings.js';
import { implement } from '../../lib/rpc/definition.js';
import { fromDescriptorMessage } from '../../lib/rpc/descriptor.js';
import { fromImageMessage, toImageMessage } from './messages.js';

/** containerd.services.images.v1.Images over the contract `Images`. */
export const plugin = definePlugin({
  id: 'images-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'images' },
  config: noSettings,
  requires: { images: Images },
  provides: { service: GrpcServices },
  async start({ deps: { images } }) {
    const service = implement(ImagesDefinition, {
      async get({ name }, call) {
        return { image: toImageMessage(await images.get(call.scope(), name)) };
      },
      async list({ filters }, call) {
        return { images: (await images.list(call.scope(), filters)).map(toImageMessage) };
      },
      async create({ image, sourceDateEpoch }, call) {
        const created = await images.create(call.scope(), fromImageMessage(image, sourceDateEpoch));
        return { image: toImageMessage(created) };
      },
      async update({ image, updateMask, sourceDateEpoch }, call) {
        const updated = await images.update(call.scope(), fromImageMessage(image, sourceDateEpoch), updateMask);
        return { image: toImageMessage(updated) };
      },
      async delete({ name, sync, target }, call) {
        const wanted = target ? { target: fromDescriptorMessage(target, 'target of the image') } : {};
        await images.delete(call.scope(), name, { sync, ...wanted });
        return {};
      },
    });
    return { service };
  },
});
