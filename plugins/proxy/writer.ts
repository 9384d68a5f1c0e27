/** An ingest in another process. Its lock is a stream of Write calls, which is opened anew after a refusal has ended it. */
import { createHash, type Hash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { ContentDefinition } from '../../api/content.js';
import { WriteAction, type WriteContentResponse } from '../../api/gen/services/content.js';
import type {
  BlobInfo,
  BlobWriter,
  CommitBlob,
  ContentStore,
  IngestStatus,
  OpenWriter,
} from '../../kernel/contracts/content.js';
import { deadlineExceeded, failedPrecondition, outOfRange, unavailable, unimplemented } from '../../kernel/errors.js';
import { CANONICAL, parseDigest } from '../../lib/digest.js';
import { toSize } from '../../lib/rpc/int64.js';
import type { ServerStream } from '../../lib/rpc/stub.js';
import type { Remote } from './remote.js';

/** Bytes of one message. */
const PIECE = 1 << 20;

/** A daemon in the place of a bare store collects what nothing refers to. */
const ROOT = 'containerd.io/gc.root';

type Opened = Required<OpenWriter>;

/** What the writer asks besides. */
type Calls = Pick<ContentStore, 'info' | 'status'>;

interface Request {
  readonly action: WriteAction;
  readonly offset?: bigint;
  readonly total?: bigint;
  readonly expected?: string;
  readonly data?: Uint8Array;
  readonly labels?: Readonly<Record<string, string>>;
}

/** One stream of the Write call: a request, its answer, the next request. */
interface Line {
  readonly requests: PassThrough;
  readonly answers: ServerStream<WriteContentResponse>;
}

export class ProxyWriter implements BlobWriter {
  readonly #remote: Remote;
  readonly #opened: Opened;
  readonly #calls: Calls;
  /** Of all bytes, when the ingest began here; what the process says is compared with it. */
  #hash: Hash;
  readonly #algorithm: string;
  #isWhole = true;
  #line: Line | undefined;
  #status: IngestStatus;
  #digest = '';
  #ended = false;

  private constructor(remote: Remote, opened: Opened, calls: Calls) {
    this.#remote = remote;
    this.#opened = opened;
    this.#calls = calls;
    this.#algorithm = opened.expected === '' ? CANONICAL : parseDigest(opened.expected).algorithm;
    this.#hash = createHash(this.#algorithm);
    this.#status = { ...opened, offset: 0, startedAt: 0n, updatedAt: 0n };
  }

  static async open(remote: Remote, opened: Opened, calls: Calls): Promise<ProxyWriter> {
    const writer = new ProxyWriter(remote, opened, calls);
    await writer.#ask({ action: WriteAction.STAT });
    writer.#isWhole = writer.#status.offset === 0;
    // The stream says of the total only what it was told.
    const { total, startedAt, updatedAt } = await calls.status(opened.ref);
    writer.#status = { ...writer.#status, total, startedAt, updatedAt };
    return writer;
  }

  status(): IngestStatus {
    return this.#status;
  }

  digest(): string {
    return this.#isWhole ? this.#written() : this.#digest;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#checkGoing();
    for (let at = 0; at < chunk.length; at += PIECE) await this.#write(chunk.subarray(at, at + PIECE));
  }

  async truncate(size: number): Promise<void> {
    this.#checkGoing();
    const { ref, offset } = this.#status;
    if (size < 0 || size > offset)
      throw outOfRange(`ingest "${ref}" has ${offset} bytes, and cannot be cut to ${size}`);
    if (size === offset) return;
    if (size > 0) throw unimplemented(`an ingest in another process can only start over, not go back to ${size} bytes`);
    await this.#ask({ action: WriteAction.WRITE, offset: 0n });
    this.#hash = createHash(this.#algorithm);
    this.#isWhole = true;
    await this.#ask({ action: WriteAction.STAT });
  }

  async commit({ size = 0, expected = '' }: CommitBlob): Promise<BlobInfo> {
    this.#checkGoing();
    if (expected !== '') parseDigest(expected);
    const { ref, offset } = this.#status;
    if (size > 0 && size !== offset)
      throw failedPrecondition(`ingest "${ref}" has ${offset} bytes, and ${size} were expected`);
    const { digest } = await this.#ask({
      action: WriteAction.COMMIT,
      offset: BigInt(offset),
      total: BigInt(size),
      expected,
      labels: { [ROOT]: new Date().toISOString() },
    });
    this.#checkDigest(digest, expected);
    this.#ended = true;
    await this.close();
    return this.#calls.info(digest);
  }

  async close(): Promise<void> {
    const line = this.#line;
    this.#line = undefined;
    this.#ended = true;
    if (line !== undefined) await this.#hangUp(line);
  }

  async #write(piece: Uint8Array): Promise<void> {
    const { ref, offset } = this.#status;
    // A copy: the stream may hold the message longer than the caller leaves the chunk alone.
    const data = Uint8Array.from(piece);
    const { offset: now, digest } = await this.#ask({ action: WriteAction.WRITE, offset: BigInt(offset), data });
    if (now !== BigInt(offset + data.length))
      throw this.#remote.lie(`has ${now} bytes of ingest "${ref}" where ${offset + data.length} were written`);
    if (this.#isWhole) this.#hash.update(data);
    if (digest === '') await this.#ask({ action: WriteAction.STAT });
  }

  /** What is committed must be what was written. */
  #checkDigest(digest: string, expected: string): void {
    const { algorithm } = parseDigest(digest);
    const written = this.#isWhole && algorithm === this.#algorithm ? this.#written() : digest;
    if (digest === written && (expected === '' || expected === digest)) return;
    throw this.#remote.lie(`committed "${digest}" where "${expected || written}" was written`);
  }

  #written(): string {
    return `${this.#algorithm}:${this.#hash.copy().digest('hex')}`;
  }

  #checkGoing(): void {
    if (this.#ended) throw failedPrecondition(`the writer of ingest "${this.#status.ref}" has ended`);
  }

  async #ask(request: Request): Promise<WriteContentResponse> {
    const what = `write to ingest "${this.#opened.ref}"`;
    const line = this.#line ?? (await this.#dial());
    this.#line = line;
    try {
      const answer = await this.#remote.call(what, ({ timeout = 0 }) => exchange(line, request, timeout));
      this.#note(answer);
      return answer;
    } catch (error) {
      this.#line = undefined;
      await this.#hangUp(line);
      throw error;
    }
  }

  /** Opens the stream; the ref and what is expected travel in its first message alone. */
  async #dial(): Promise<Line> {
    const requests = new PassThrough({ objectMode: true });
    const answers = this.#remote.stub(ContentDefinition).write(requests);
    const line = { requests, answers };
    const { ref, total, expected } = this.#opened;
    const first = { action: WriteAction.STAT, ref, total: BigInt(total), expected };
    const what = `opening of ingest "${ref}"`;
    this.#note(await this.#remote.call(what, ({ timeout = 0 }) => exchange(line, first, timeout)));
    return line;
  }

  #note({ offset, digest }: WriteContentResponse): void {
    const { ref } = this.#opened;
    if (digest !== '') this.#digest = digest;
    this.#status = {
      ...this.#status,
      offset: toSize(offset, `offset of "${ref}"`),
    };
  }

  /** Ends the stream, and with it the lock, before the ref is used again. */
  async #hangUp({ requests, answers }: Line): Promise<void> {
    requests.end();
    const timer = setTimeout(() => answers.cancel(), 1000);
    try {
      while (!(await answers.next()).done);
    } catch {
      // However the stream ended, it has: what it ended with was told to who asked.
    } finally {
      clearTimeout(timer);
    }
  }
}

/** One request and its answer. Milliseconds after which the stream is canceled. */
async function exchange(
  { requests, answers }: Line,
  request: Request & Partial<Pick<OpenWriter, 'ref'>>,
  timeout: number,
): Promise<WriteContentResponse> {
  requests.write(request);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(deadlineExceeded('no answer')), timeout);
  try {
    const { value, done } = await Promise.race([answers.next(), late.promise]);
    if (done || value === undefined) throw unavailable('the stream ended without an answer');
    return value;
  } finally {
    clearTimeout(timer);
  }
}
