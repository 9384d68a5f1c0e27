/** Content descriptors: `containerd.types.Descriptor` on the wire. */
import { invalidArgument } from '../../kernel/errors.js';
import { toInt64, toSize } from './int64.js';

/** containerd.types.Descriptor. */
export interface DescriptorMessage {
  mediaType: string;
  digest: string;
  size: bigint;
  annotations: { [key: string]: string };
}

/** The part of an OCI descriptor that travels. `size` is in bytes. */
export interface WireDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

export const toDescriptorMessage = (descriptor: WireDescriptor): DescriptorMessage => ({
  mediaType: descriptor.mediaType,
  digest: descriptor.digest,
  size: toInt64(descriptor.size, `size of "${descriptor.digest}"`),
  annotations: { ...descriptor.annotations },
});

/** INVALID_ARGUMENT without a message or with a negative size, OUT_OF_RANGE beyond 2^53 - 1. */
export function fromDescriptorMessage(message: DescriptorMessage | undefined, what: string): WireDescriptor {
  if (message === undefined) throw invalidArgument(`${what} is required`);
  const { mediaType, digest, annotations } = message;
  const size = toSize(message.size, `size of "${digest}"`);
  return Object.keys(annotations).length === 0 ? { mediaType, digest, size } : { mediaType, digest, size, annotations };
}
