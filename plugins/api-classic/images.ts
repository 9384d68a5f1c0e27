/** `containerd.v1.Images` over the contract `Images`. */
import { type Image as ImageMessage, ImagesDefinition } from '../../api/gen/classic/images.js';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import type { Image, Images, NewImage } from '../../kernel/contracts/images.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { hasCode, invalidArgument } from '../../kernel/errors.js';
import { implement } from '../../lib/rpc/definition.js';
import { toInt64, toSize } from '../../lib/rpc/int64.js';
import type { ScopeOf } from './scope.js';

const toMessage = ({ name, target: { mediaType, digest, size } }: Image): ImageMessage => ({
  name,
  target: { mediaType, digest, size: toInt64(size, `size of "${digest}"`) },
});

function fromMessage(image: ImageMessage | undefined): NewImage {
  if (image?.target === undefined) throw invalidArgument('an image with a target is required');
  const { mediaType, digest, size } = image.target;
  return { name: image.name, target: { mediaType, digest, size: toSize(size, `size of "${digest}"`) } };
}

/** A name that is there already points to the new target from now on. */
async function put(images: Images, scope: Scope, image: NewImage): Promise<void> {
  try {
    await images.create(scope, image);
  } catch (error) {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
    await images.update(scope, image, ['target']);
  }
}

export const imagesService = (images: Images, scopeOf: ScopeOf): GrpcService =>
  implement(ImagesDefinition, {
    get: async ({ name }, call) => ({ image: toMessage(await images.get(scopeOf(call), name)) }),
    async put({ image }, call) {
      await put(images, scopeOf(call), fromMessage(image));
      return {};
    },
    list: async (_, call) => ({ images: (await images.list(scopeOf(call))).map(toMessage) }),
    async delete({ name }, call) {
      await images.delete(scopeOf(call), name);
      return {};
    },
  });
