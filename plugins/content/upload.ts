/**
 * The Write stream of containerd.services.content.v1: which request may follow
 * which, and what each answers. The lock of the ref is held until the stream ends.
 */
import { WriteAction, type WriteContentRequest, type WriteContentResponse } from '../../api/gen/services/content.js';
import type { Content, ContentWriter } from '../../kernel/contracts/content.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { invalidArgument, outOfRange } from '../../kernel/errors.js';
import { toInt64, toSize } from '../../lib/rpc/int64.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

/** What the stream has promised so far; a later request may add to it but not change it. */
class Promised {
  #total = 0;
  #expected = '';

  get total(): number {
    return this.#total;
  }

  get expected(): string {
    return this.#expected;
  }

  take(request: WriteContentRequest): void {
    const total = toSize(request.total, `total of ref "${request.ref}"`);
    if (total > 0 && this.#total > 0 && total !== this.#total) {
      throw invalidArgument(`total of this write was ${this.#total}, and cannot become ${total}`);
    }
    if (request.expected !== '' && this.#expected !== '' && request.expected !== this.#expected) {
      throw invalidArgument(`digest of this write was "${this.#expected}", and cannot become "${request.expected}"`);
    }
    this.#total ||= total;
    this.#expected ||= request.expected;
  }
}

function answer(writer: ContentWriter, action: WriteAction): WriteContentResponse {
  const { ref, offset, total, startedAt, updatedAt } = writer.status();
  return {
    action,
    startedAt: toTimestamp(startedAt),
    updatedAt: toTimestamp(updatedAt),
    offset: toInt64(offset, `offset of ref "${ref}"`),
    total: toInt64(total, `total of ref "${ref}"`),
    digest: writer.digest(),
  };
}

/** Offset 0 starts over; any other offset must be where the ingest stands. */
async function write(writer: ContentWriter, request: WriteContentRequest, { total }: Promised): Promise<void> {
  const { ref, offset } = writer.status();
  const wanted = toSize(request.offset, `offset of ref "${ref}"`);
  if (wanted > 0 && wanted !== offset) {
    throw outOfRange(`ref "${ref}" stands at offset ${offset}, and cannot be written at ${wanted}`);
  }
  if (wanted === 0 && offset > 0) await writer.truncate(0);
  if (request.data.length === 0) return;
  if (total > 0 && wanted + request.data.length > total) {
    throw outOfRange(`ref "${ref}" would grow beyond its total of ${total} bytes`);
  }
  await writer.write(request.data);
}

/** Answers every request once; ends after the commit. */
export async function* upload(
  content: Content,
  scope: Scope,
  requests: AsyncIterable<WriteContentRequest>,
): AsyncIterable<WriteContentResponse> {
  const promised = new Promised();
  let writer: ContentWriter | undefined;
  try {
    for await (const request of requests) {
      promised.take(request);
      writer ??= await content.writer(scope, { ref: request.ref, total: promised.total, expected: promised.expected });
      if (request.action === WriteAction.WRITE || request.action === WriteAction.COMMIT) {
        await write(writer, request, promised);
      }
      if (request.action === WriteAction.COMMIT) {
        const response = answer(writer, request.action);
        const { labels } = request;
        await writer.commit({ size: promised.total, expected: promised.expected, labels });
        yield response;
        return;
      }
      yield answer(writer, request.action);
    }
  } finally {
    await writer?.close();
  }
}
