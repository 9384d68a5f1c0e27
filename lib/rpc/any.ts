/**
 * google.protobuf.Any as containerd uses it: the type URL is the bare name of
 * the message, without `type.googleapis.com/`. JSON payloads travel under
 * URLs of their own, such as `types.containerd.io/opencontainers/runtime-spec/1/Spec`.
 */
import { invalidArgument } from '../../kernel/errors.js';
import type { MessageCodec } from './definition.js';

export interface AnyMessage {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** A codec that knows the full name of its message, as generated ones do. */
export interface NamedCodec<T> extends MessageCodec<T> {
  readonly $type: string;
}

/** A mutable copy, as generated messages want it. */
interface AnyWire {
  typeUrl: string;
  value: Uint8Array;
}

export const packAny = <T>(codec: NamedCodec<T>, message: T): AnyWire => ({
  typeUrl: codec.$type,
  value: codec.encode(message).finish(),
});

/** True when the payload is that message; a URL with a prefix before the name counts too. */
export const isAny = (codec: { readonly $type: string }, { typeUrl }: AnyMessage): boolean =>
  typeUrl.slice(typeUrl.lastIndexOf('/') + 1) === codec.$type;

/** INVALID_ARGUMENT when the payload is another message or does not decode. */
export function unpackAny<T>(codec: NamedCodec<T>, any: AnyMessage): T {
  if (!isAny(codec, any)) throw invalidArgument(`expected a "${codec.$type}", got a "${any.typeUrl}"`);
  try {
    return codec.decode(any.value);
  } catch (cause) {
    throw invalidArgument(`a "${codec.$type}" does not decode`, { cause });
  }
}

/** JSON under a type URL. */
export const packJson = (typeUrl: string, value: unknown): AnyWire => ({
  typeUrl,
  value: Buffer.from(JSON.stringify(value)),
});
