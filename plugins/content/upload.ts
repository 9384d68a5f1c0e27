import { WriteAction, type WriteContentRequest, type WriteContentResponse } from '../../api/gen/services/content.js';
import type { Content, ContentWriter } from '../../kernel/contracts/content.js';
import type { Scope } from '../../kernel/contracts/scope.js';
import { hasCode, invalidArgument, outOfRange } from '../../kernel/errors.js';
import { toInt64, toSize } from '../../lib/rpc/int64.js';
import { toTimestamp } from '../../lib/rpc/timestamp.js';

const UNSET = { startedAt: undefined, updatedAt: undefined, total: 0n };

/**
 * The Write stream of containerd: the first message names the ref, which stays
 * locked until the stream ends; every message is answered with where the
 * ingest is now; COMMIT is the last.
 */
export async function* upload(
  content: Content,
  scope: Scope,
  requests: AsyncIterable<WriteContentRequest>,
): AsyncGenerator<WriteContentResponse> {
  let session: WriteSession | undefined;
  try {
    for await (const request of requests) {
      session ??= await WriteSession.open(content, scope, request);
      yield await session.answer(request);
      if (request.action === WriteAction.COMMIT) return;
    }
  } finally {
    await session?.close();
  }
}

class WriteSession {
  readonly #content: Content;
  readonly #scope: Scope;
  #writer: ContentWriter;
  readonly #ref: string;
  #total = 0;
  #expected = '';

  private constructor(content: Content, scope: Scope, writer: ContentWriter, ref: string) {
    this.#content = content;
    this.#scope = scope;
    this.#writer = writer;
    this.#ref = ref;
  }

  static async open(
    content: Content,
    scope: Scope,
    { ref, total, expected }: WriteContentRequest,
  ): Promise<WriteSession> {
    if (ref === '') throw invalidArgument('the first message of a write must have a ref');
    const options = { ref, total: toSize(total, `total of "${ref}"`), expected };
    return new WriteSession(content, scope, await content.writer(scope, options), ref);
  }

  async answer(request: WriteContentRequest): Promise<WriteContentResponse> {
    if (request.expected !== '') await this.#expect(request.expected);
    if (request.total > 0n) this.#total = toSize(request.total, `total of "${this.#ref}"`);
    switch (request.action) {
      case WriteAction.STAT:
        return this.#status();
      case WriteAction.WRITE:
        await this.#write(request);
        return this.#progress(request.action);
      case WriteAction.COMMIT:
        await this.#write(request);
        return this.#commit(request);
      default:
        throw invalidArgument(`unknown action ${request.action} in a write of "${this.#ref}"`);
    }
  }

  close(): Promise<void> {
    return this.#writer.close();
  }

  /** What is here already needs no writing: opened with that in mind, the ingest is dropped, and the lease takes the blob. */
  async #expect(digest: string): Promise<void> {
    this.#expected = digest;
    if (!(await unlessMissing(this.#content.info(this.#scope, digest)))) return;
    await this.#writer.close();
    this.#writer = await this.#content.writer(this.#scope, { ref: this.#ref, expected: digest });
  }

  async #write({ offset, data }: WriteContentRequest): Promise<void> {
    const at = toSize(offset, `offset in "${this.#ref}"`);
    const current = this.#writer.status().offset;
    if (at > 0 && at !== current) {
      throw outOfRange(`write at ${at} of "${this.#ref}" must be at its current offset ${current}`);
    }
    if (at === 0 && current > 0) await this.#writer.truncate(0);
    if (data.byteLength > 0) await this.#writer.write(data);
  }

  async #commit({ action, labels }: WriteContentRequest): Promise<WriteContentResponse> {
    const { offset } = this.#writer.status();
    const { digest } = await this.#writer.commit({ size: this.#total, expected: this.#expected, labels });
    return { ...UNSET, action, digest, offset: toInt64(offset, 'offset') };
  }

  #progress(action: WriteAction): WriteContentResponse {
    const { offset } = this.#writer.status();
    return { ...UNSET, action, digest: this.#writer.digest(), offset: toInt64(offset, 'offset') };
  }

  #status(): WriteContentResponse {
    const { startedAt, updatedAt } = this.#writer.status();
    return {
      ...this.#progress(WriteAction.STAT),
      total: toInt64(this.#total, 'total'),
      startedAt: toTimestamp(startedAt),
      updatedAt: toTimestamp(updatedAt),
    };
  }
}

async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}
