/** A content store seen through the gRPC service of a daemon, ours or another, in a namespace of its own. */
import { randomUUID } from 'node:crypto';
import { type CallOptions, connect } from '../../client/index.js';
import type {
  BlobInfo,
  BlobReader,
  BlobWriter,
  CommitContent,
  ContentStore,
  IngestStatus,
  OpenWriter,
} from '../../kernel/contracts/content.js';
import { failedPrecondition, invalidArgument, notFound, unavailable } from '../../kernel/errors.js';
import { toSize } from '../../lib/rpc/int64.js';
import { fromTimestamp } from '../../lib/rpc/timestamp.js';
import type { OpenStore } from './content.workbench.js';

type Connected = ReturnType<typeof connect>;
type Write = Connected['content']['write'];
type Requests = Parameters<Write>[0];
type Request = Requests extends AsyncIterable<infer T> ? T : never;
type Answer = ReturnType<Write> extends AsyncIterable<infer T> ? T : never;
type Status = NonNullable<Awaited<ReturnType<Connected['content']['status']>>['status']>;
type Info = NonNullable<Awaited<ReturnType<Connected['content']['info']>>['info']>;

/** Bytes of a chunk that go in one message. */
const PIECE = 1 << 20;

const ACTION = { STAT: 0, WRITE: 1, COMMIT: 2 } as const;

const fromInfo = ({ digest, size, createdAt, updatedAt }: Info): BlobInfo => ({
  digest,
  size: toSize(size, 'size'),
  createdAt: fromTimestamp(createdAt),
  updatedAt: fromTimestamp(updatedAt),
});

const fromStatus = ({ ref, offset, total, expected, startedAt, updatedAt }: Status): IngestStatus => ({
  ref,
  offset: toSize(offset, 'offset'),
  total: toSize(total, 'total'),
  expected,
  startedAt: fromTimestamp(startedAt),
  updatedAt: fromTimestamp(updatedAt),
});

/** One Write call: a request, an answer, a request, ... */
class Conversation {
  readonly #answers: AsyncIterator<Answer>;
  #next = Promise.withResolvers<Request | undefined>();

  constructor(client: Connected, on: CallOptions) {
    const requests = async function* (this: Conversation): AsyncIterable<Request> {
      for (;;) {
        const request = await this.#next.promise;
        this.#next = Promise.withResolvers();
        if (request === undefined) return;
        yield request;
      }
    };
    this.#answers = client.content.write(requests.call(this), on)[Symbol.asyncIterator]();
  }

  async ask(request: Request): Promise<Answer> {
    this.#next.resolve(request);
    const { done, value } = await this.#answers.next();
    if (done) throw unavailable('the daemon ended the call without an answer');
    return value;
  }

  /** Resolves once the daemon has let go of the ref. */
  async end(): Promise<void> {
    this.#next.resolve(undefined);
    await this.#answers.next();
  }
}

class RemoteWriter implements BlobWriter {
  readonly #begin: () => Conversation;
  readonly #options: OpenWriter;
  #conversation: Conversation | undefined;
  #status: IngestStatus;
  #digest = '';
  #over = false;

  constructor(begin: () => Conversation, options: OpenWriter) {
    this.#begin = begin;
    this.#options = options;
    const { ref, total = 0, expected = '' } = options;
    this.#status = { ref, total, expected, offset: 0, startedAt: 0n, updatedAt: 0n };
  }

  status(): IngestStatus {
    return this.#status;
  }

  digest(): string {
    return this.#digest;
  }

  /** `look` tells what the daemon says of the ingest once it is there. */
  async open(look: () => Promise<IngestStatus>): Promise<void> {
    await this.#ask({ action: ACTION.STAT });
    this.#status = await look();
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#refuseWhenOver();
    for (let at = 0; at === 0 || at < chunk.length; at += PIECE) {
      const data = chunk.subarray(at, at + PIECE);
      await this.#ask({ action: ACTION.WRITE, offset: BigInt(this.#status.offset), data });
    }
  }

  async truncate(size: number): Promise<void> {
    this.#refuseWhenOver();
    if (size !== 0) throw invalidArgument('over gRPC an ingest can only start over');
    await this.#ask({ action: ACTION.WRITE, offset: 0n, data: new Uint8Array(0) });
  }

  async commit({ size = 0, expected = '', labels = {} }: CommitContent): Promise<BlobInfo> {
    this.#refuseWhenOver();
    const at = BigInt(this.#status.offset);
    const request = { action: ACTION.COMMIT, offset: at, total: BigInt(size), expected, labels: { ...labels } };
    const answer = await this.#ask(request);
    await this.close();
    const { digest, startedAt, updatedAt, offset } = answer;
    const blob = { digest, createdAt: fromTimestamp(startedAt), updatedAt: fromTimestamp(updatedAt) };
    return { ...blob, size: toSize(offset, 'offset') };
  }

  async close(): Promise<void> {
    this.#over = true;
    const conversation = this.#conversation;
    this.#conversation = undefined;
    // what a call that failed has to say was said to its caller
    await conversation?.end().catch(() => undefined);
  }

  #refuseWhenOver(): void {
    if (this.#over) throw failedPrecondition(`the writer of "${this.#options.ref}" has ended`);
  }

  /** A refused request ends the call; the next one begins another on the same ingest, opened as the first was. */
  async #ask(request: Request): Promise<Answer> {
    const { ref, total = 0, expected = '' } = this.#options;
    if (this.#conversation === undefined) {
      this.#conversation = this.#begin();
      if (request.action !== ACTION.STAT) await this.#ask({ action: ACTION.STAT });
    }
    try {
      const answer = await this.#conversation.ask({ ref, total: BigInt(total), expected, ...request });
      this.#digest = answer.digest;
      this.#status = { ...this.#status, offset: toSize(answer.offset, 'offset') };
      return answer;
    } catch (error) {
      this.#conversation = undefined;
      throw error;
    }
  }
}

const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

export async function remoteReader(client: Connected, digest: string): Promise<BlobReader> {
  const { info } = await client.content.info({ digest });
  if (info === undefined) throw notFound(`the answer says nothing of "${digest}"`);
  const { size } = fromInfo(info);
  return {
    size,
    read: async (target, offset) => {
      const length = Math.min(target.length, size - offset);
      if (length <= 0) return 0;
      let filled = 0;
      const range = { offset: BigInt(offset), size: BigInt(length) };
      for await (const { data } of client.content.read({ digest, ...range })) {
        target.set(data, filled);
        filled += data.length;
      }
      return filled;
    },
    close: async () => {},
  };
}

export async function remoteStatus(client: Connected, ref: string): Promise<IngestStatus> {
  const { status } = await client.content.status({ ref });
  if (status === undefined) throw notFound(`the answer says nothing of "${ref}"`);
  return fromStatus(status);
}

export const remoteStatuses = async (
  client: Connected,
  filters: readonly string[] = [],
): Promise<readonly IngestStatus[]> =>
  (await client.content.listStatuses({ filters: [...filters] })).statuses.map(fromStatus);

export async function remoteWriter(
  client: Connected,
  options: OpenWriter,
  on: CallOptions,
): Promise<Omit<BlobWriter, 'commit'> & { commit(expectation: CommitContent): Promise<BlobInfo> }> {
  if (!isSize(options.total ?? 0)) throw invalidArgument(`a total of ${options.total} cannot be sent`);
  const writer = new RemoteWriter(() => new Conversation(client, on), options);
  await writer.open(() => remoteStatus(client, options.ref));
  return writer;
}

class RemoteStore implements ContentStore {
  readonly #client: Connected;
  readonly #lease: string;

  constructor(client: Connected, lease: string) {
    this.#client = client;
    this.#lease = lease;
  }

  async info(digest: string): Promise<BlobInfo> {
    const { info } = await this.#client.content.info({ digest });
    if (info === undefined) throw notFound(`the answer says nothing of "${digest}"`);
    return fromInfo(info);
  }

  async *walk(): AsyncIterable<BlobInfo> {
    for await (const { info } of this.#client.content.list({})) for (const one of info) yield fromInfo(one);
  }

  reader(digest: string): Promise<BlobReader> {
    return remoteReader(this.#client, digest);
  }

  writer(options: OpenWriter): Promise<BlobWriter> {
    return remoteWriter(this.#client, options, { lease: this.#lease });
  }

  async delete(digest: string): Promise<void> {
    await this.#client.content.delete({ digest });
  }

  status(ref: string): Promise<IngestStatus> {
    return remoteStatus(this.#client, ref);
  }

  statuses(): Promise<readonly IngestStatus[]> {
    return remoteStatuses(this.#client);
  }

  async abort(ref: string): Promise<void> {
    await this.#client.content.abort({ ref });
  }

  /** Removes everything, and waits until the collector has: nothing may be shared with the next namespace. */
  async empty(): Promise<void> {
    for await (const { digest } of this.walk()) await this.delete(digest);
    for (const { ref } of await this.statuses()) await this.abort(ref);
    await this.#client.leases.delete({ id: this.#lease, sync: true });
  }
}

export interface RemotePlace {
  readonly address: string;
  /** Default: one that nobody else has. */
  readonly namespace?: string;
  /** Leave content and lease for whoever opens the namespace again. */
  readonly keep?: boolean;
}

/**
 * How the content kit opens a daemon that it must not restart: each directory
 * stands for a namespace, which is emptied when the next one is begun, and in the end.
 */
export class RemoteNamespaces implements AsyncDisposable {
  readonly #address: () => string;
  #current: { readonly directory: string; readonly namespace: string } | undefined;

  constructor(address: () => string) {
    this.#address = address;
  }

  async open(directory: string): Promise<OpenStore> {
    if (this.#current?.directory !== directory) {
      await this[Symbol.asyncDispose]();
      this.#current = { directory, namespace: `kit-${randomUUID()}` };
    }
    return remoteStore({ address: this.#address(), namespace: this.#current.namespace, keep: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#current === undefined) return;
    const { close } = await remoteStore({ address: this.#address(), namespace: this.#current.namespace });
    await close();
    this.#current = undefined;
  }
}

/** Opens what the daemon at the socket shows in one namespace; `close` empties it. */
export async function remoteStore({ address, namespace, keep = false }: RemotePlace): Promise<OpenStore> {
  const client = connect({ address, namespace: namespace ?? `kit-${randomUUID()}` });
  const lease = 'kit';
  try {
    const { leases } = await client.leases.list({ filters: [`id==${lease}`] });
    if (leases.length === 0) await client.leases.create({ id: lease });
  } catch (error) {
    client[Symbol.dispose]();
    throw error;
  }
  const store = new RemoteStore(client, lease);
  let closed = false;
  return {
    store,
    async close() {
      if (closed) return;
      closed = true;
      try {
        if (!keep) await store.empty();
        if (!keep && client.namespace !== undefined) await client.namespaces.delete({ name: client.namespace });
      } finally {
        client[Symbol.dispose]();
      }
    },
  };
}
