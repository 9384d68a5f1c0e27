/** A content store in another process: `containerd.services.content.v1.Content` over its socket. */
import { ContentDefinition } from '../../api/content.js';
import type { Info, Status } from '../../api/gen/services/content.js';
import type {
  BlobInfo,
  BlobReader,
  BlobWriter,
  ContentStore,
  IngestStatus,
  OpenWriter,
} from '../../kernel/contracts/content.js';
import { invalidArgument, notFound } from '../../kernel/errors.js';
import { parseDigest } from '../../lib/digest.js';
import { toInt64, toSize } from '../../lib/rpc/int64.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import type { Remote } from './remote.js';
import { ProxyWriter } from './writer.js';

export class ProxyContentStore implements ContentStore {
  readonly #remote: Remote;
  readonly #stub;

  constructor(remote: Remote) {
    this.#remote = remote;
    this.#stub = remote.stub(ContentDefinition);
  }

  async info(digest: string): Promise<BlobInfo> {
    parseDigest(digest);
    const { info } = await this.#remote.call(`info of "${digest}"`, (options) => this.#stub.info({ digest }, options));
    if (info?.digest !== digest)
      throw this.#remote.lie(`was asked about "${digest}" and answers about "${info?.digest}"`);
    return this.#blob(info);
  }

  async *walk(): AsyncIterable<BlobInfo> {
    const answers = this.#remote.each('list of blobs', (options) => this.#stub.list({}, options));
    for await (const { info } of answers) for (const one of info) yield this.#blob(one);
  }

  async reader(digest: string): Promise<BlobReader> {
    const { size } = await this.info(digest);
    return {
      size,
      read: (target, offset) => this.#read(digest, target.subarray(0, Math.max(0, size - offset)), offset),
      close: async () => undefined,
    };
  }

  async writer(options: OpenWriter): Promise<BlobWriter> {
    const { ref, total = 0, expected = '' } = options;
    if (ref === '') throw invalidArgument('an ingest needs a ref');
    if (!Number.isSafeInteger(total) || total < 0)
      throw invalidArgument(`total of "${ref}" is ${total}, expected a size`);
    if (expected !== '') parseDigest(expected);
    return ProxyWriter.open(this.#remote, { ref, total, expected }, this);
  }

  async delete(digest: string): Promise<void> {
    parseDigest(digest);
    await this.#remote.call(`removal of "${digest}"`, (options) => this.#stub.delete({ digest }, options));
  }

  async status(ref: string): Promise<IngestStatus> {
    const what = `status of ingest "${ref}"`;
    const { status } = await this.#remote.call(what, (options) => this.#stub.status({ ref }, options));
    if (status?.ref !== ref)
      throw this.#remote.lie(`was asked about ingest "${ref}" and answers about "${status?.ref}"`);
    return this.#status(status);
  }

  async statuses(): Promise<readonly IngestStatus[]> {
    const what = 'list of ingests';
    const { statuses } = await this.#remote.call(what, (options) => this.#stub.listStatuses({}, options));
    return statuses.map((status) => this.#status(status));
  }

  async abort(ref: string): Promise<void> {
    if (ref === '') throw notFound('there is no ingest without a ref');
    await this.#remote.call(`abort of ingest "${ref}"`, (options) => this.#stub.abort({ ref }, options));
  }

  /** Fills the target, which does not go beyond the blob. */
  async #read(digest: string, target: Uint8Array, offset: number): Promise<number> {
    if (target.length === 0) return 0;
    const request = { digest, offset: toInt64(offset, 'offset'), size: BigInt(target.length) };
    let filled = 0;
    const answers = this.#remote.each(`read of "${digest}"`, (options) => this.#stub.read(request, options));
    for await (const { data } of answers) {
      if (filled + data.length > target.length)
        throw this.#remote.lie(`returns more of "${digest}" than was asked for`);
      target.set(data, filled);
      filled += data.length;
    }
    if (filled < target.length) throw this.#remote.lie(`returns ${filled} of ${target.length} bytes of "${digest}"`);
    return filled;
  }

  #blob({ digest, size, createdAt, updatedAt }: Info): BlobInfo {
    parseDigest(digest);
    const times = { createdAt: fromTimestamp(createdAt), updatedAt: fromTimestamp(updatedAt) };
    return { digest, size: toSize(size, `size of "${digest}"`), ...times };
  }

  #status({ ref, offset, total, expected, startedAt, updatedAt }: Status): IngestStatus {
    const times = { startedAt: fromTimestamp(startedAt), updatedAt: fromTimestamp(updatedAt) };
    return {
      ref,
      offset: toSize(offset, `offset of "${ref}"`),
      total: toSize(total, `total of "${ref}"`),
      expected,
      ...times,
    };
  }
}
