/** Reading what is in content already. */
import type { Content } from '../../kernel/contracts/content.js';
import type { Descriptor, Scope } from '../../kernel/contracts/scope.js';
import { dataLoss, type KeelsonError, notFound } from '../../kernel/errors.js';
import { digestOf, parseDigest } from '../../lib/digest.js';
import { DISCARD_UNPACKED } from '../../lib/discard-label.js';
import { formatPlatform } from '../../lib/oci/platform.js';
import { CHUNK } from './chunks.js';

/** The bytes of a document, verified. NOT_FOUND; DATA_LOSS when the store holds something else. */
export async function readDocument(content: Content, scope: Scope, { digest, size }: Descriptor): Promise<Buffer> {
  const reader = await content.reader(scope, digest);
  try {
    const bytes = Buffer.alloc(size);
    const read = reader.size === size ? await reader.read(bytes, 0) : 0;
    if (read === size && digestOf(bytes, parseDigest(digest).algorithm) === digest) return bytes;
  } finally {
    await reader.close();
  }
  throw dataLoss(`document "${digest}" in the content store is damaged`, {
    remedy: 'delete that content and pull again',
  });
}

/** A part of an image that is to leave this machine, and is not on it. */
export const notHere = ({ digest, platform }: Descriptor, cause: unknown): KeelsonError =>
  notFound(`"${digest}"${platform ? ` for ${formatPlatform(platform)}` : ''} belongs to the image, but is not here`, {
    cause,
    remedy: `name the platforms that are here, or pull all of it first, which must not be asked to discard what is unpacked ("${DISCARD_UNPACKED}")`,
  });

/** The bytes of a blob from `offset` on, `length` of them; a chunk is overwritten when the next one is asked for. DATA_LOSS when they are not there. */
export async function* readRange(
  content: Content,
  scope: Scope,
  digest: string,
  offset: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  const reader = await content.reader(scope, digest);
  try {
    const buffer = Buffer.alloc(Math.min(CHUNK, length));
    for (let at = offset; at < offset + length; ) {
      const read = await reader.read(buffer.subarray(0, offset + length - at), at);
      if (read === 0) throw dataLoss(`content "${digest}" ends after ${at} bytes`);
      yield buffer.subarray(0, read);
      at += read;
    }
  } finally {
    await reader.close();
  }
}
