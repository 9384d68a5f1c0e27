import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Empty } from '../../api/gen/google/protobuf/empty.js';
import { StreamInit } from '../../api/gen/services/streaming.js';
import { type Client, connect } from '../../client/index.js';
import type { AnyMessage } from '../../kernel/contracts/scope.js';
import { Streams } from '../../kernel/contracts/streams.js';
import { hasCode } from '../../kernel/errors.js';
import { packAny } from '../../lib/rpc/any.js';
import { eventually } from '../../test/harness/eventually.js';
import { startTestKernel, type TestKernel } from '../../test/harness/kernel.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';

const text = (value: string): AnyMessage => ({ typeUrl: 'test.Text', value: Buffer.from(value) });

describe('streams over gRPC', () => {
  let directory: Scratch;
  let kernel: TestKernel;
  let client: Client;
  let streams: Streams;
  const scope = { namespace: 'one' };

  before(async () => {
    directory = await scratch('streams');
    const address = join(directory.path, 'socket');
    kernel = await startTestKernel({
      plugins: ['streaming', 'streaming-service', 'server-grpc'],
      config: { 'server-grpc': { address } },
    });
    client = connect({ address, namespace: 'one' });
    streams = kernel.get(Streams);
  });
  after(async () => {
    client[Symbol.dispose]();
    await kernel[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  /** A stream the client opened; `end` closes its side. */
  async function open(id: string, as = client) {
    const end = Promise.withResolvers<void>();
    const more: AnyMessage[] = [packAny(StreamInit, { id })];
    async function* requests() {
      yield* more;
      await end.promise;
      yield text('last');
    }
    const call = as.streaming.stream(requests());
    const first = await call.next();
    return { call, first, end: end.resolve };
  }

  const isOpen = (namespace: string): boolean => {
    try {
      return streams.get({ namespace }, 'd') !== undefined;
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND')) return false;
      throw error;
    }
  };

  it('are known once the client has its answer', async () => {
    const { call, first } = await open('a');
    assert.equal(first.value?.typeUrl, Empty.$type);
    const stream = streams.get(scope, 'a');
    await stream.send(text('hello'));
    const { value } = await call.next();
    assert.deepEqual([value?.typeUrl, Buffer.from(value?.value ?? []).toString()], ['test.Text', 'hello']);
    stream.close();
    assert.equal((await call.next()).done, true);
    assert.throws(() => streams.get(scope, 'a'), { code: 'NOT_FOUND', message: /"a"/ });
  });

  it('deliver what was sent before they were closed', async () => {
    const { call } = await open('b');
    const stream = streams.get(scope, 'b');
    for (const word of ['x', 'y', 'z']) void stream.send(text(word));
    stream.close();
    const words: string[] = [];
    for await (const { value } of call) words.push(Buffer.from(value).toString());
    assert.deepEqual(words, ['x', 'y', 'z']);
    await assert.rejects(stream.send(text('late')), { code: 'UNAVAILABLE' });
  });

  it('receive, and see the end of the client', async () => {
    const { end, call } = await open('c');
    const stream = streams.get(scope, 'c');
    end();
    assert.equal((await stream.receive())?.typeUrl, 'test.Text');
    assert.equal(await stream.receive(), undefined);
    stream.close();
    await call.next();
  });

  it('have an id of their own in each namespace', async () => {
    const { call } = await open('d');
    await assert.rejects(open('d'), { code: 'ALREADY_EXISTS' });
    const other = await open('d', client.in('two'));
    assert.notEqual(streams.get(scope, 'd'), streams.get({ namespace: 'two' }, 'd'));
    call.cancel();
    other.call.cancel();
    await eventually('both streams are forgotten', () => (isOpen('one') || isOpen('two') ? undefined : true));
  });

  it('leave nobody waiting when the client vanishes', async () => {
    const { call } = await open('e');
    const stream = streams.get(scope, 'e');
    const big = { typeUrl: 'test.Big', value: Buffer.alloc(1_000_000) };
    const waiting = Array.from({ length: 100 }, () => stream.send(big));
    const settled = Promise.allSettled(waiting);
    await call.next();
    call.cancel();
    assert.equal((await settled).at(-1)?.status, 'rejected');
    await assert.rejects(stream.send(big), { code: 'UNAVAILABLE' });
  });

  for (const [name, message] of [
    ['no StreamInit', text('hello')],
    ['an empty id', packAny(StreamInit, { id: '' })],
    ['an endless id', packAny(StreamInit, { id: 'x'.repeat(257) })],
  ] as const) {
    it(`refuse ${name}`, async () => {
      async function* requests() {
        yield message;
      }
      await assert.rejects(client.streaming.stream(requests()).next(), { code: 'INVALID_ARGUMENT' });
    });
  }
});
