/** Messages of containerd.services.images.v1 and what the contract says, both ways. */
import type { Image as ImageMessage } from '../../api/gen/services/images.js';
import type { Image, NewImage } from '../../kernel/contracts/images.js';
import type { Nanos } from '../../kernel/contracts/scope.js';
import { invalidArgument } from '../../kernel/errors.js';
import { fromDescriptorMessage, toDescriptorMessage } from '../../lib/rpc/descriptor.js';
import { fromTimestamp, type TimestampMessage, toTimestamp } from '../../lib/rpc/timestamp.js';

export const toImageMessage = ({ name, labels, target, createdAt, updatedAt }: Image): ImageMessage => ({
  name,
  labels: { ...labels },
  target: toDescriptorMessage(target),
  createdAt: toTimestamp(createdAt),
  updatedAt: toTimestamp(updatedAt),
});

/** A target is left out of updates that do not concern it; whoever needs one refuses this. */
const NO_TARGET = { mediaType: '', digest: '', size: 0 };

/** The clock sets the times of an image; a source date epoch takes its place. INVALID_ARGUMENT without an image. */
export function fromImageMessage(message: ImageMessage | undefined, epoch: TimestampMessage | undefined): NewImage {
  if (!message) throw invalidArgument('image is required');
  const { name, labels } = message;
  const target = message.target ? fromDescriptorMessage(message.target, 'target of the image') : NO_TARGET;
  return { name, labels, target, ...timesOf(epoch) };
}

function timesOf(epoch: TimestampMessage | undefined): { readonly createdAt?: Nanos; readonly updatedAt?: Nanos } {
  if (!epoch) return {};
  const moment = fromTimestamp(epoch);
  return { createdAt: moment, updatedAt: moment };
}
