/** `containerd.v1.Content` over the contract `Content`. */
import { ContentDefinition, type WriteRequest, type WriteResponse, WriteStep } from '../../api/gen/classic/content.js';
import type { BlobReader, Content, ContentWriter, IngestStatus } from '../../kernel/contracts/content.js';
import type { GrpcService } from '../../kernel/contracts/grpc.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { invalidArgument, outOfRange } from '../../kernel/errors.js';
import { implement } from '../../lib/rpc/definition.js';
import { toInt64, toSize } from '../../lib/rpc/int64.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';
import { kept, type ScopeOf } from './scope.js';

/** Bytes of one message. */
const PIECE = 1 << 20;

async function* piecesOf(reader: BlobReader, from: number, size: number) {
  const end = size === 0 ? reader.size : Math.min(reader.size, from + size);
  if (from > reader.size) throw outOfRange(`read from ${from}, which is beyond the end at ${reader.size}`);
  for (let at = from; at < end; ) {
    const target = new Uint8Array(Math.min(PIECE, end - at));
    const count = await reader.read(target, at);
    yield { offset: toInt64(at, 'offset'), data: target.subarray(0, count) };
    at += count;
  }
}

const toStatus = ({ ref, offset, total, startedAt, updatedAt }: IngestStatus) => ({
  ref,
  offset: toInt64(offset, 'offset'),
  total: toInt64(total, 'total'),
  startedAt: toTimestamp(startedAt),
  updatedAt: toTimestamp(updatedAt),
});

/** One step of a Write stream, and where the ingest is after it. */
async function step(writer: ContentWriter, request: WriteRequest): Promise<WriteResponse> {
  const { action, total, expected } = request;
  const { offset: current, ref } = writer.status();
  if (action === WriteStep.WRITE || action === WriteStep.COMMIT) {
    const at = toSize(request.offset, `offset in "${ref}"`);
    if (at > 0 && at !== current) throw outOfRange(`write at ${at} of "${ref}" must be at its offset ${current}`);
    if (at === 0 && current > 0 && action === WriteStep.WRITE) await writer.truncate(0);
    if (request.data.length > 0) await writer.write(request.data);
  }
  const state = toStatus(writer.status());
  if (action !== WriteStep.COMMIT) return { ...state, action, digest: writer.digest() };
  const { digest } = await writer.commit({ size: toSize(total, `total of "${ref}"`), expected, labels: kept() });
  return { ...state, action, digest };
}

async function* write(content: Content, scope: Scope, requests: AsyncIterable<WriteRequest>) {
  let writer: ContentWriter | undefined;
  try {
    for await (const request of requests) {
      const { ref, action, expected } = request;
      if (writer === undefined && ref === '') throw invalidArgument('the first message of a write must have a ref');
      writer ??= await content.writer(scope, { ref, expected, total: toSize(request.total, `total of "${ref}"`) });
      if (action === WriteStep.ABORT) {
        const state = toStatus(writer.status());
        await writer.close();
        await content.abort(scope, state.ref);
        yield { ...state, action, digest: '' };
        return;
      }
      yield await step(writer, request);
      if (action === WriteStep.COMMIT) return;
    }
  } finally {
    await writer?.close();
  }
}

export const contentService = (content: Content, scopeOf: ScopeOf): GrpcService =>
  implement(ContentDefinition, {
    async info({ digest }, call) {
      const { size, createdAt } = await content.info(scopeOf(call), digest);
      return { digest, size: toInt64(size, `size of "${digest}"`), committedAt: toTimestamp(createdAt) };
    },
    async delete({ digest }, call) {
      await content.delete(scopeOf(call), digest);
      return {};
    },
    async *read({ digest, offset, size }, call) {
      const reader = await content.reader(scopeOf(call), digest);
      try {
        yield* piecesOf(reader, toSize(offset, 'offset'), toSize(size, 'size'));
      } finally {
        await reader.close();
      }
    },
    async *status({ refs, prefix }, call) {
      for (const status of await content.statuses(scopeOf(call))) {
        const all = refs.length === 0 && prefix.length === 0;
        if (all || refs.includes(status.ref) || prefix.some((text) => status.ref.startsWith(text)))
          yield toStatus(status);
      }
    },
    write: (requests, call) => write(content, scopeOf(call), requests),
  });
