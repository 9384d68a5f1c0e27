import type { ReadContentRequest, ReadContentResponse } from '../../api/gen/services/content.js';
import type { Content } from '../../kernel/contracts/content.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { outOfRange } from '../../kernel/errors.js';
import { toInt64, toSafeInteger } from '../../lib/rpc/int64.js';

/** Bytes in one message. */
const CHUNK = 1024 * 1024;

/** Buffers kept for the next reads: clients make thousands of small ones. */
const KEPT = 4;
const kept: Buffer[] = [];

const takeBuffer = (): Buffer => kept.pop() ?? Buffer.allocUnsafeSlow(CHUNK);

function giveBack(buffer: Buffer): void {
  if (kept.length < KEPT) kept.push(buffer);
}

/**
 * The Read stream: `size` bytes from `offset`, or all from there; below 0 both
 * count as 0. The data of a message is overwritten when the next one is asked for.
 */
export async function* download(
  content: Content,
  scope: Scope,
  { digest, offset, size }: ReadContentRequest,
): AsyncGenerator<ReadContentResponse> {
  const reader = await content.reader(scope, digest);
  const buffer = takeBuffer();
  try {
    const start = Math.max(0, toSafeInteger(offset, `offset in "${digest}"`));
    if (start > reader.size) throw outOfRange(`content "${digest}" has ${reader.size} bytes, not ${start}`);
    const rest = reader.size - start;
    const wanted = size > 0n && size < BigInt(rest) ? Number(size) : rest;
    for (let done = 0; done < wanted; ) {
      const target = buffer.subarray(0, Math.min(CHUNK, wanted - done));
      const read = await reader.read(target, start + done);
      if (read === 0) return;
      yield { offset: toInt64(done, 'offset'), data: target.subarray(0, read) };
      done += read;
    }
  } finally {
    giveBack(buffer);
    await reader.close();
  }
}
