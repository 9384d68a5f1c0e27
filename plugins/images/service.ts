import { z } from 'zod';
import { type Image as ImageMessage, ImagesDefinition } from '../../api/gen/services/images.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { type Image, Images, type NewImage } from '../../kernel/contracts/images.js';
import { invalidArgument } from '../../kernel/errors.js';
import { definePlugin } from '../../kernel/plugin.js';
import { implement } from '../../lib/rpc/definition.js';
import { fromDescriptorMessage, toDescriptorMessage } from '../../lib/rpc/descriptor.js';
import { fromTimestamp, type TimestampMessage, toTimestamp } from '../../lib/rpc/timestamp.js';

const toMessage = ({ name, labels, target, createdAt, updatedAt }: Image): ImageMessage => ({
  name,
  labels: { ...labels },
  target: toDescriptorMessage(target),
  createdAt: toTimestamp(createdAt),
  updatedAt: toTimestamp(updatedAt),
});

function fromMessage(message: ImageMessage | undefined): NewImage {
  if (message === undefined) throw invalidArgument('image is required');
  const { name, labels, target } = message;
  return { name, labels, target: fromDescriptorMessage(target, `target of image "${name}"`) };
}

/** SOURCE_DATE_EPOCH of the client replaces the clock, so that what it builds is reproducible. */
const at = (
  epoch: TimestampMessage | undefined,
  ...fields: readonly ('createdAt' | 'updatedAt')[]
): Partial<NewImage> =>
  epoch === undefined ? {} : Object.fromEntries(fields.map((field) => [field, fromTimestamp(epoch)]));

/** containerd.services.images.v1.Images over the contract `Images`. */
export const plugin = definePlugin({
  id: 'images-service',
  api: 1,
  wire: { type: 'io.containerd.grpc.v1', id: 'images' },
  config: z.object({}).strict(),
  requires: { images: Images },
  provides: { service: GrpcServices },
  async start({ deps: { images } }) {
    const service = implement(ImagesDefinition, {
      async get({ name }, call) {
        return { image: toMessage(await images.get(call.scope(), name)) };
      },
      async list({ filters }, call) {
        return { images: (await images.list(call.scope(), filters)).map(toMessage) };
      },
      async create({ image, sourceDateEpoch }, call) {
        const created = { ...fromMessage(image), ...at(sourceDateEpoch, 'createdAt', 'updatedAt') };
        return { image: toMessage(await images.create(call.scope(), created)) };
      },
      async update({ image, updateMask, sourceDateEpoch }, call) {
        const updated = { ...fromMessage(image), ...at(sourceDateEpoch, 'updatedAt') };
        return { image: toMessage(await images.update(call.scope(), updated, updateMask)) };
      },
      async delete({ name, sync, target }, call) {
        const expected = target && { target: fromDescriptorMessage(target, `target of image "${name}"`) };
        await images.delete(call.scope(), name, { sync, ...expected });
        return {};
      },
    });
    return { service };
  },
});
