import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import type { Descriptor } from '../../../kernel/contracts/scope.js';
import { hasCode } from '../../../kernel/errors.js';
import { DOCKER_LAYER } from '../../../lib/oci/media-types.js';
import { UNCOMPRESSED } from '../labels.js';
import { readRange } from '../stored.js';
import type { LayoutServices } from './layout.js';

/** A plain layer as gzip, in content; the plain one is left to the collector. */
export async function compressLayer({ content, scope }: LayoutServices, layer: Descriptor): Promise<Descriptor> {
  const ref = `compress-blob-${layer.digest}-${scope.lease}`;
  const writer = await content.writer(scope, { ref });
  await writer.truncate(0);
  // Buffers of a range are reused; what zlib still holds must not change under it.
  async function* copies(): AsyncGenerator<Buffer> {
    for await (const chunk of readRange(content, scope, layer.digest, 0, layer.size)) yield Buffer.from(chunk);
  }
  for await (const chunk of Readable.from(copies()).compose(createGzip({ chunkSize: 1 << 20 }))) {
    await writer.write(chunk);
  }
  const digest = writer.digest();
  const size = writer.status().offset;
  try {
    await writer.commit({ size, expected: digest, labels: { [UNCOMPRESSED]: layer.digest } });
  } catch (error) {
    if (!hasCode(error, 'ALREADY_EXISTS')) throw error;
  }
  return { mediaType: `${DOCKER_LAYER}.gzip`, digest, size };
}
