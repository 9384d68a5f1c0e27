import type { ReadContentRequest, ReadContentResponse } from '../../api/gen/services/content.js';
import type { Content } from '../../kernel/contracts/content.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { outOfRange } from '../../kernel/errors.js';
import { toInt64, toSize } from '../../lib/rpc/int64.js';

/** Bytes of one message. */
const CHUNK = 1024 * 1024;

/** The Read stream of containerd.services.content.v1: `size` 0 is the rest; offsets of responses count from the start of the read. */
export async function* download(
  content: Content,
  scope: Scope,
  { digest, offset, size }: ReadContentRequest,
): AsyncIterable<ReadContentResponse> {
  const reader = await content.reader(scope, digest);
  try {
    const start = toSize(offset, `offset in "${digest}"`);
    if (start > reader.size) throw outOfRange(`offset ${start} is beyond "${digest}", which has ${reader.size} bytes`);
    const wanted = toSize(size, `size of the read of "${digest}"`) || reader.size;
    const end = Math.min(reader.size, start + wanted);
    for (let at = start; at < end; ) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, end - at));
      const count = await reader.read(chunk, at);
      yield { offset: toInt64(at - start, 'offset'), data: chunk.subarray(0, count) };
      at += count;
    }
  } finally {
    await reader.close();
  }
}
