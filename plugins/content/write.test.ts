import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { WriteAction, WriteContentRequest, type WriteContentResponse } from '../../api/gen/services/content.js';
import { digestOf } from '../../lib/digest.js';
import { bytesOf, coded, TestMetadata } from '../../test/harness/metadata.js';
import { download } from './download.js';
import { upload } from './upload.js';

const NS = { namespace: 'test' };
const HELLO = bytesOf('hello, content');
const HELLO_DIGEST = digestOf(HELLO);
const { STAT, WRITE, COMMIT, UNRECOGNIZED } = WriteAction;

/** The client's side of a Write stream: one answer for each message. */
class Stream implements AsyncDisposable {
  readonly #answers: AsyncGenerator<WriteContentResponse>;
  #controller: ReadableStreamDefaultController<WriteContentRequest> | undefined;
  readonly #requests = new ReadableStream<WriteContentRequest>({
    start: (controller) => {
      this.#controller = controller;
    },
  });

  constructor({ content }: TestMetadata) {
    this.#answers = upload(content, NS, this.#requests);
  }

  async send(request: Partial<WriteContentRequest>): Promise<WriteContentResponse> {
    this.#controller?.enqueue(WriteContentRequest.fromPartial(request));
    const { value } = await this.#answers.next();
    assert.ok(value, 'the stream ended without an answer');
    return value;
  }

  /** The client closes its side; resolves when the server has ended too. */
  async end(): Promise<void> {
    this.#controller?.close();
    assert.equal((await this.#answers.next()).done, true);
  }

  /** The client has gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#answers.return(undefined);
  }
}

const check = (title: string, body: (stream: Stream, metadata: TestMetadata) => Promise<void>): void => {
  it(title, async () => {
    await using metadata = await TestMetadata.start();
    await using stream = new Stream(metadata);
    await body(stream, metadata);
  });
};

describe('content service: Write', () => {
  check('STAT, WRITE and COMMIT answer with where the ingest is', async (stream, metadata) => {
    const total = BigInt(HELLO.byteLength);
    const opened = await stream.send({ action: STAT, ref: 'r', total, expected: HELLO_DIGEST });
    assert.deepEqual([opened.action, opened.offset, opened.total], [STAT, 0n, total]);
    assert.ok(opened.startedAt);
    const first = await stream.send({ action: WRITE, offset: 0n, data: HELLO.subarray(0, 5) });
    assert.deepEqual([first.action, first.offset, first.digest], [WRITE, 5n, digestOf(HELLO.subarray(0, 5))]);
    const second = await stream.send({ action: WRITE, offset: 5n, data: HELLO.subarray(5) });
    assert.equal(second.offset, total);
    assert.equal((await stream.send({ action: STAT })).offset, total);
    const done = await stream.send({ action: COMMIT, offset: total, labels: { a: 'b' } });
    assert.deepEqual([done.action, done.offset, done.digest], [COMMIT, total, HELLO_DIGEST]);
    await stream.end();
    assert.deepEqual((await metadata.content.info(NS, HELLO_DIGEST)).labels, { a: 'b' });
  });

  check('one message can carry data and commit', async (stream, metadata) => {
    const { digest } = await stream.send({ action: COMMIT, ref: 'r', data: HELLO });
    assert.equal(digest, HELLO_DIGEST);
    assert.deepEqual(await metadata.digests(NS), [HELLO_DIGEST]);
  });

  check('offset 0 starts over; another than the current one is OUT_OF_RANGE', async (stream) => {
    await stream.send({ action: WRITE, ref: 'r', data: bytesOf('wrong') });
    const { offset, digest } = await stream.send({ action: WRITE, offset: 0n, data: HELLO });
    assert.deepEqual([offset, digest], [BigInt(HELLO.byteLength), HELLO_DIGEST]);
    await assert.rejects(stream.send({ action: WRITE, offset: 3n, data: HELLO }), coded('OUT_OF_RANGE', /14/));
  });

  check('the first message needs a ref', async (stream) => {
    await assert.rejects(stream.send({ action: STAT }), coded('INVALID_ARGUMENT', /ref/));
  });

  check(
    'an unknown action, a negative offset, one beyond the end and a malformed digest are refused',
    async (stream, metadata) => {
      await assert.rejects(stream.send({ action: UNRECOGNIZED, ref: 'r' }), coded('INVALID_ARGUMENT', /action/));
      const again = new Stream(metadata);
      await assert.rejects(again.send({ action: WRITE, ref: 'r', offset: -1n }), coded('INVALID_ARGUMENT'));
      const third = new Stream(metadata);
      await assert.rejects(third.send({ action: STAT, ref: 'r', expected: 'sha256:x' }), coded('INVALID_ARGUMENT'));
      const beyond = new Stream(metadata);
      await assert.rejects(
        beyond.send({ action: WRITE, ref: 'r', offset: 5n, data: HELLO }),
        coded('OUT_OF_RANGE', /0/),
      );
      assert.deepEqual(await metadata.digests(NS), []);
    },
  );

  check('digests of other algorithms are checked too, of unknown ones refused', async (stream, metadata) => {
    const [right, wrong] = [digestOf(HELLO, 'sha512'), digestOf(bytesOf('x'), 'sha512')];
    await stream.send({ action: WRITE, ref: 'r', data: HELLO, expected: wrong });
    await assert.rejects(stream.send({ action: COMMIT, offset: 14n }), coded('FAILED_PRECONDITION', /sha512/));
    assert.deepEqual((await metadata.onDisk()).blobs, []);
    await using resumed = new Stream(metadata);
    const { digest } = await resumed.send({ action: COMMIT, ref: 'r', offset: 14n, expected: right });
    assert.equal(digest, right);
    const unknown = new Stream(metadata);
    const expected = `md5:${'0'.repeat(32)}`;
    await assert.rejects(unknown.send({ action: STAT, ref: 'md5', expected }), coded('INVALID_ARGUMENT', /md5/));
  });

  check('nothing is written behind a commit', async (stream, metadata) => {
    await stream.send({ action: COMMIT, ref: 'r', data: HELLO });
    await assert.rejects(stream.send({ action: WRITE, offset: 14n, data: HELLO }), /ended without an answer/);
    assert.deepEqual(await metadata.digests(NS), [HELLO_DIGEST]);
    assert.deepEqual(await metadata.content.statuses(NS), []);
  });

  check('a wrong size is FAILED_PRECONDITION, and the ingest can go on', async (stream, metadata) => {
    await stream.send({ action: WRITE, ref: 'r', data: HELLO, total: 20n });
    await assert.rejects(stream.send({ action: COMMIT, offset: 14n }), coded('FAILED_PRECONDITION', /14 bytes.*20/));
    await using resumed = new Stream(metadata);
    assert.equal((await resumed.send({ action: STAT, ref: 'r', total: 20n })).offset, 14n);
    await resumed.send({ action: WRITE, offset: 14n, data: bytesOf('......') });
    await resumed.send({ action: COMMIT, offset: 20n });
  });

  check('a wrong digest is FAILED_PRECONDITION and leaves no content', async (stream, metadata) => {
    await stream.send({ action: WRITE, ref: 'r', data: bytesOf('forged'), expected: HELLO_DIGEST });
    await assert.rejects(stream.send({ action: COMMIT, offset: 6n }), coded('FAILED_PRECONDITION', /digest/));
    assert.deepEqual((await metadata.onDisk()).blobs, []);
  });

  check('ALREADY_EXISTS as soon as the digest is said, at the first message or later', async (stream, metadata) => {
    await metadata.put(NS, 'hello, content');
    const opening = stream.send({ action: STAT, ref: 'r', expected: HELLO_DIGEST });
    await assert.rejects(opening, coded('ALREADY_EXISTS', /already exists/));
    await using late = new Stream(metadata);
    await late.send({ action: WRITE, ref: 'r', data: HELLO });
    await assert.rejects(late.send({ action: STAT, expected: HELLO_DIGEST }), coded('ALREADY_EXISTS'));
    await using blind = new Stream(metadata);
    await blind.send({ action: WRITE, ref: 'blind', data: HELLO });
    await assert.rejects(blind.send({ action: COMMIT, offset: 14n }), coded('ALREADY_EXISTS'));
    assert.deepEqual(await metadata.content.statuses(NS), []);
  });

  check('a ref is UNAVAILABLE to others until the stream ends, however it ends', async (stream, metadata) => {
    await stream.send({ action: WRITE, ref: 'r', data: HELLO });
    await using other = new Stream(metadata);
    await assert.rejects(other.send({ action: STAT, ref: 'r' }), coded('UNAVAILABLE'));
    await stream.end();
    const gone = new Stream(metadata);
    assert.equal((await gone.send({ action: STAT, ref: 'r' })).offset, 14n);
    await gone[Symbol.asyncDispose]();
    const refused = new Stream(metadata);
    await assert.rejects(refused.send({ action: UNRECOGNIZED, ref: 'r' }), coded('INVALID_ARGUMENT'));
    await using last = new Stream(metadata);
    assert.equal((await last.send({ action: STAT, ref: 'r' })).offset, 14n);
    assert.deepEqual((await metadata.content.statuses(NS, ['ref==r'])).length, 1);
  });

  check('two namespaces write the same ref at once', async (stream, metadata) => {
    await stream.send({ action: WRITE, ref: 'r', data: HELLO });
    const writer = await metadata.content.writer({ namespace: 'other' }, { ref: 'r' });
    assert.equal(writer.status().offset, 0);
    await writer.close();
  });
});

describe('content service: Read', () => {
  const LONG = Buffer.alloc(2 * 1024 * 1024 + 100, '0123456789');

  const read = async (metadata: TestMetadata, offset: bigint, size: bigint): Promise<[Buffer, bigint[]]> => {
    const parts: Buffer[] = [];
    const offsets: bigint[] = [];
    for await (const answer of download(metadata.content, NS, { digest: digestOf(LONG), offset, size })) {
      parts.push(Buffer.from(answer.data));
      offsets.push(answer.offset);
    }
    return [Buffer.concat(parts), offsets];
  };

  const cases = [
    ['all of it', 0n, 0n, 0, LONG.length],
    ['the rest from an offset', 100n, 0n, 100, LONG.length],
    ['a part', 1_000_000n, 1_200_000n, 1_000_000, 2_200_000],
    ['up to the end when asked for more', 2_000_000n, 5_000_000n, 2_000_000, LONG.length],
    ['nothing at the end', BigInt(LONG.length), 0n, LONG.length, LONG.length],
    ['from the start when below 0', -5n, -5n, 0, LONG.length],
  ] as const;

  it('ranges', async () => {
    await using metadata = await TestMetadata.start();
    await metadata.put(NS, LONG.toString());
    for (const [title, offset, size, start, end] of cases) {
      const [bytes, offsets] = await read(metadata, offset, size);
      assert.ok(bytes.equals(LONG.subarray(start, end)), title);
      const expected = Array.from({ length: Math.ceil((end - start) / 1048576) }, (_, i) => BigInt(i) * 1048576n);
      assert.deepEqual(offsets, expected, `${title}: offsets count from where reading began`);
    }
    await assert.rejects(read(metadata, BigInt(LONG.length) + 1n, 0n), coded('OUT_OF_RANGE'));
    await metadata.content.delete(NS, digestOf(LONG));
    await assert.rejects(read(metadata, 0n, 0n), coded('NOT_FOUND'));
  });
});
