/**
 * The content service with codecs of its own for the two messages that carry
 * data in bulk: they are encoded with one copy of the data, where generated
 * code makes two and clears the memory before. Decoding never copied.
 */
import {
  ContentDefinition as Generated,
  ReadContentResponse as ReadResponse,
  WriteContentRequest as WriteRequest,
} from './gen/services/content.js';

interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
}

const NO_DATA = new Uint8Array(0);

/** Protobuf's wire type of bytes, and the most bytes that a 32-bit length takes. */
const LENGTH_DELIMITED = 2;
const MAX_VARINT32 = 5;

/** Writes a varint; returns the offset after it. */
function writeVarint(target: Uint8Array, value: number, offset: number): number {
  let rest = value;
  let at = offset;
  for (; rest > 0x7f; rest >>>= 7) target[at++] = (rest & 0x7f) | 0x80;
  target[at++] = rest;
  return at;
}

/** Writes the field of that number, below 16, with the data; returns the offset behind it. */
function writeData(target: Uint8Array, field: number, data: Uint8Array, offset: number): number {
  if (data.length === 0) return offset;
  target[offset] = (field << 3) | LENGTH_DELIMITED;
  const start = writeVarint(target, data.length, offset + 1);
  target.set(data, start);
  return start + data.length;
}

/** Everything but the data, as generated. */
const headOf = <T extends { data: Uint8Array }>(codec: Codec<T>, message: T): Uint8Array =>
  codec.encode({ ...message, data: NO_DATA }).finish();

/** The head, then the data, which protobuf lets come last. */
function encodeBulk<T extends { data: Uint8Array }>(codec: Codec<T>, field: number, message: T): Uint8Array {
  const head = headOf(codec, message);
  const { data } = message;
  if (data.length === 0) return head;
  const bytes = Buffer.allocUnsafe(head.length + 1 + MAX_VARINT32 + data.length);
  bytes.set(head);
  return bytes.subarray(0, writeData(bytes, field, data, head.length));
}

/** A tag and a 64-bit varint. */
const MOST_OF_OFFSET = 11;

export const ReadContentResponse = {
  ...ReadResponse,
  encode: (message: ReadResponse) => ({ finish: () => encodeBulk(ReadResponse, 2, message) }),
  bulk: {
    most: ({ data }: ReadResponse): number => MOST_OF_OFFSET + 1 + MAX_VARINT32 + data.length,
    write(message: ReadResponse, target: Buffer, at: number): number {
      const head = message.offset === 0n ? NO_DATA : headOf(ReadResponse, message);
      target.set(head, at);
      return writeData(target, 2, message.data, at + head.length);
    },
  },
};
export type ReadContentResponse = ReadResponse;

export const WriteContentRequest = {
  ...WriteRequest,
  encode: (message: WriteRequest) => ({ finish: () => encodeBulk(WriteRequest, 6, message) }),
  passing: true,
};
export type WriteContentRequest = WriteRequest;

export const ContentDefinition = {
  ...Generated,
  methods: {
    ...Generated.methods,
    read: { ...Generated.methods.read, responseType: ReadContentResponse },
    write: { ...Generated.methods.write, requestType: WriteContentRequest },
  },
} as const;
