import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Any } from '../../api/gen/google/protobuf/any.js';
import { hasCode, notFound } from '../../kernel/errors.js';
import { scratch } from '../../test/harness/scratch.js';
import { type Call, implement } from '../rpc/definition.js';
import { TtrpcClient } from './client.js';
import { encodeFrame, FRAME_DATA, FRAME_REQUEST, FRAME_RESPONSE, FrameReader, MAX_FRAME } from './frame.js';
import { decodeRequest, decodeResponse, encodeRequest } from './messages.js';
import { NAMESPACE_KEY } from './metadata.js';
import { createTtrpcServer } from './server.js';

const method = <const R extends boolean, const S extends boolean>(
  name: string,
  requestStream: R,
  responseStream: S,
) => ({
  name,
  requestType: Any,
  requestStream,
  responseType: Any,
  responseStream,
});

const EchoDefinition = {
  fullName: 'test.v1.Echo',
  methods: {
    echo: method('Echo', false, false),
    fail: method('Fail', false, false),
    crash: method('Crash', false, false),
    hang: method('Hang', false, false),
    count: method('Count', false, true),
    sum: method('Sum', true, false),
    chat: method('Chat', true, true),
  },
} as const;

const text = (typeUrl: string): Any => ({ typeUrl, value: Buffer.alloc(0) });

async function serve(hung: Call[] = []) {
  const directory = await scratch('ttrpc');
  const failures: unknown[] = [];
  const echo = implement(EchoDefinition, {
    async echo({ typeUrl, value }, call) {
      return { typeUrl: call.metadata(NAMESPACE_KEY) === undefined ? typeUrl : call.scope().namespace, value };
    },
    async fail() {
      throw notFound('task "x" does not exist');
    },
    async crash() {
      throw new TypeError('a bug');
    },
    hang(_request, call) {
      hung.push(call);
      return new Promise(() => {});
    },
    async *count({ typeUrl }) {
      for (let i = 0; i < Number(typeUrl); i++) yield text(`${i}`);
    },
    async sum(messages) {
      let sum = 0;
      for await (const { typeUrl } of messages) sum += Number(typeUrl);
      return text(`${sum}`);
    },
    async *chat(messages) {
      for await (const { typeUrl } of messages) yield text(typeUrl.toUpperCase());
    },
  });
  const server = createTtrpcServer([echo], (error) => failures.push(error));
  const path = join(directory.path, 's');
  server.server.listen(path);
  await once(server.server, 'listening');
  const client = await TtrpcClient.connect(path);
  return {
    path,
    client,
    server,
    failures,
    echo: client.stub(EchoDefinition),
    async [Symbol.asyncDispose]() {
      client.close();
      await server.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

async function* from(...items: string[]): AsyncGenerator<Any> {
  for (const item of items) yield text(item);
}

const collect = async (messages: AsyncIterable<Any>): Promise<string[]> => {
  const all: string[] = [];
  for await (const { typeUrl } of messages) all.push(typeUrl);
  return all;
};

describe('ttrpc', () => {
  it('answers calls in parallel, with metadata, up to the size of a frame', async () => {
    await using setup = await serve();
    const { echo } = setup;
    const names = Array.from({ length: 200 }, (_, i) => `call ${i}`);
    const answers = await Promise.all(names.map((name) => echo.echo(text(name))));
    assert.deepEqual(
      answers.map(({ typeUrl }) => typeUrl),
      names,
    );
    const metadata = { [NAMESPACE_KEY]: 'moby' };
    assert.equal((await echo.echo(text('x'), { metadata })).typeUrl, 'moby');
    await assert.rejects(echo.echo(text('x'), { metadata: { [NAMESPACE_KEY]: '../x' } }), (e) =>
      hasCode(e, 'INVALID_ARGUMENT'),
    );
    const value = Buffer.alloc(MAX_FRAME - 100, 7);
    assert.deepEqual(Buffer.from((await echo.echo({ typeUrl: '', value })).value), value);
    await assert.rejects(echo.echo({ typeUrl: '', value: Buffer.alloc(MAX_FRAME) }), (e) =>
      hasCode(e, 'RESOURCE_EXHAUSTED'),
    );
    assert.equal((await echo.echo(text('still'))).typeUrl, 'still');
  });

  it('maps errors once, and survives a handler that crashes', async () => {
    await using setup = await serve();
    const { echo, client, failures } = setup;
    await assert.rejects(echo.fail(text('')), { code: 'NOT_FOUND', message: 'task "x" does not exist' });
    assert.equal(failures.length, 0);
    await assert.rejects(echo.crash(text('')), { code: 'INTERNAL', message: 'a bug' });
    assert.equal(failures.length, 1);
    const other = client.stub({ fullName: 'test.v1.Other', methods: EchoDefinition.methods });
    await assert.rejects(other.echo(text('')), { code: 'UNIMPLEMENTED' });
  });

  it('tells who sent what is no message, and does not take it for a failure of its own', async () => {
    await using setup = await serve();
    const { client, failures } = setup;
    // Field 1, a string, of one byte that is no UTF-8.
    const broken = { encode: () => ({ finish: () => Buffer.from('0a01ff', 'hex') }), decode: Any.decode };
    const methods = { echo: { ...EchoDefinition.methods.echo, requestType: broken } };
    await assert.rejects(client.stub({ ...EchoDefinition, methods }).echo(text('')), {
      code: 'INVALID_ARGUMENT',
      message: /sent to Echo/,
    });
    assert.deepEqual(failures, []);
    const deaf = { encode: Any.encode, decode: () => assert.fail('no such message') };
    const answers = { echo: { ...EchoDefinition.methods.echo, responseType: deaf } };
    await assert.rejects(client.stub({ ...EchoDefinition, methods: answers }).echo(text('')), {
      code: 'INTERNAL',
      message: /what Echo answered/,
    });
  });

  it('ends a call at its deadline on both sides, and when the caller gives up', async () => {
    const hung: Call[] = [];
    await using setup = await serve(hung);
    const { echo, client } = setup;
    await assert.rejects(echo.hang(text(''), { timeout: 50 }), { code: 'DEADLINE_EXCEEDED' });
    await new Promise((resolve) => hung[0]?.signal.aborted || hung[0]?.signal.addEventListener('abort', resolve));
    const given = new AbortController();
    const call = echo.hang(text(''), { signal: given.signal });
    given.abort();
    await assert.rejects(call, { code: 'CANCELED' });
    const open = echo.hang(text(''));
    await echo.echo(text(''));
    client.close();
    await assert.rejects(open, { code: 'UNAVAILABLE' });
    await assert.rejects(echo.echo(text('')), { code: 'UNAVAILABLE' });
  });

  it('streams from, to and in both directions', async () => {
    await using setup = await serve();
    const { echo } = setup;
    assert.deepEqual(await collect(echo.count(text('3'))), ['0', '1', '2']);
    assert.deepEqual(await collect(echo.count(text('0'))), []);
    assert.equal((await collect(echo.count(text('20000')))).length, 20_000);
    assert.equal((await echo.sum(from('1', '2', '39'))).typeUrl, '42');
    assert.deepEqual(await collect(echo.chat(from('a', 'b'))), ['A', 'B']);
    for await (const { typeUrl } of echo.count(text('1000'))) if (typeUrl === '5') break;
    assert.equal((await echo.echo(text('after'))).typeUrl, 'after');
  });

  it('holds a slow reader back instead of buffering for it', async () => {
    await using setup = await serve();
    const { echo } = setup;
    const before = process.memoryUsage().rss;
    const value = Buffer.alloc(1 << 20);
    let seen = 0;
    const big = async function* (): AsyncGenerator<Any> {
      for (let i = 0; i < 200; i++) yield { typeUrl: `${i}`, value };
    };
    for await (const _ of echo.chat(big())) seen++;
    assert.equal(seen, 200);
    assert.ok(process.memoryUsage().rss - before < 150 << 20);
  });

  it('stays up and small under hostile frames', async () => {
    await using setup = await serve();
    const { path, echo, failures } = setup;
    const raw = async (bytes: Uint8Array): Promise<void> => {
      const socket = connect(path);
      socket.on('error', () => {});
      socket.end(bytes);
      socket.resume();
      await once(socket, 'close');
    };
    const frame = (stream: number, type: number, data: Uint8Array): Buffer =>
      Buffer.concat(encodeFrame({ stream, type, flags: 0, data }));
    const request = encodeRequest({
      service: 'test.v1.Echo',
      method: 'Hang',
      payload: Buffer.alloc(0),
      timeoutNano: 0n,
      metadata: [],
    });
    const flood = Buffer.concat(Array.from({ length: 100_000 }, (_, i) => frame(2 * i + 1, FRAME_REQUEST, request)));
    const attack = async (): Promise<void> => {
      await raw(Buffer.from('ffffffff00000001010000', 'hex'));
      await raw(Buffer.concat([frame(0, FRAME_REQUEST, request), frame(2, FRAME_REQUEST, request)]));
      const repeated = [FRAME_REQUEST, FRAME_REQUEST, FRAME_DATA].map((type) => frame(1, type, request));
      await raw(Buffer.concat(repeated));
      await raw(flood);
      await raw(Buffer.from('0000', 'hex'));
      const [silent, open] = [connect(path), connect(path)];
      await Promise.all([once(silent, 'connect'), once(open, 'connect')]);
      silent.write(Buffer.from('0000100000', 'hex'));
      open.on('error', () => {}).resume();
      open.write(flood);
      assert.equal((await echo.echo(text('beside'))).typeUrl, 'beside');
      for (const socket of [silent, open]) socket.destroy();
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), (bytes) => raw(bytes)),
        { numRuns: 300 },
      );
    };
    await attack();
    // The heap has grown to what such a flood takes by now: another one takes no more.
    const before = process.memoryUsage().rss;
    await attack();
    assert.ok(process.memoryUsage().rss - before < 100 << 20);
    assert.equal((await echo.echo(text('alive'))).typeUrl, 'alive');
    assert.deepEqual(failures, []);
  });
});

describe('a client whose server is hostile', () => {
  /** A client at a server that sends these bytes to whoever comes, once something was asked. */
  async function facing(bytes: Uint8Array): Promise<AsyncDisposable & { readonly client: TtrpcClient }> {
    const directory = await scratch('ttrpc');
    const path = join(directory.path, 's');
    const server = createServer((socket) => {
      socket.on('error', () => {}).once('data', () => socket.write(bytes));
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const client = await TtrpcClient.connect(path);
    return {
      client,
      async [Symbol.asyncDispose]() {
        client.close();
        server.close();
        await directory[Symbol.asyncDispose]();
      },
    };
  }

  const answer = (stream: number, type: number, data: Uint8Array): Buffer =>
    Buffer.concat(encodeFrame({ stream, type, flags: 0, data }));

  it('has an error for its call, or none of its business, and small memory', async () => {
    const before = process.memoryUsage().rss;
    const hostile: Readonly<Record<string, readonly [Uint8Array, RegExp]>> = {
      'an answer longer than any may be': [Buffer.from('ffffffff000000010200', 'hex'), /INTERNAL/],
      'an answer that is none': [answer(1, FRAME_RESPONSE, Buffer.from('0aff', 'hex')), /INTERNAL/],
      'a stream in place of an answer': [answer(1, FRAME_DATA, Buffer.from('x')), /INTERNAL/],
      'answers to nobody': [
        Buffer.concat(Array.from({ length: 50_000 }, (_, i) => answer(2 * i + 3, FRAME_RESPONSE, Buffer.alloc(9)))),
        /DEADLINE_EXCEEDED/,
      ],
      'a frame of an unknown kind': [answer(1, 77, Buffer.from('x')), /DEADLINE_EXCEEDED/],
      'half a header, and silence': [Buffer.from('00000010', 'hex'), /DEADLINE_EXCEEDED/],
    };
    for (const [what, [bytes, code]] of Object.entries(hostile)) {
      await using setup = await facing(bytes);
      const call = setup.client.stub(EchoDefinition).echo(text('?'), { timeout: 300 });
      const outcome = await call.then(
        () => 'an answer',
        (error: { code?: unknown }) => String(error.code),
      );
      assert.match(outcome, code, what);
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        await using setup = await facing(bytes);
        const call = setup.client.stub(EchoDefinition).echo(text('?'), { timeout: 20 });
        await call.then(
          () => assert.ok(bytes.length > 0),
          () => undefined,
        );
      }),
      { numRuns: 100, seed: 58 },
    );
    assert.ok(process.memoryUsage().rss - before < 100 << 20);
  });
});

describe('frames', () => {
  const frames = fc.array(
    fc.record({
      stream: fc.nat(),
      type: fc.constantFrom(1, 2, 3, 77),
      flags: fc.nat(255),
      data: fc.uint8Array({ maxLength: 40 }),
    }),
    { maxLength: 10 },
  );

  it('arrive whole however the bytes are cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (sent, cuts) => {
        const bytes = Buffer.concat(sent.flatMap((frame) => encodeFrame(frame)));
        const reader = new FrameReader();
        const received: unknown[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = cuts[i % cuts.length] ?? 1;
          received.push(...reader.push(bytes.subarray(at, at + size)));
          at += size;
        }
        const plain = sent.map((frame) => ({ ...frame, data: Buffer.from(frame.data) }));
        assert.deepEqual(received, plain);
      }),
    );
  });

  it('too long are passed over and told', () => {
    const reader = new FrameReader();
    const long = Buffer.concat([
      Buffer.from('0040000100000007', 'hex'),
      Buffer.from([1, 0]),
      Buffer.alloc(MAX_FRAME + 1),
    ]);
    const [header, data] = encodeFrame({ stream: 9, type: 1, flags: 0, data: Buffer.from('ok') });
    const bytes = Buffer.concat([long, header, data]);
    const seen = [...reader.push(bytes.subarray(0, 5000)), ...reader.push(bytes.subarray(5000))];
    assert.deepEqual(seen, [
      { stream: 7, oversized: MAX_FRAME + 1 },
      { stream: 9, type: 1, flags: 0, data: Buffer.from('ok') },
    ]);
  });
});

describe('messages', () => {
  it('decode what they encode, and throw on what is none', () => {
    const request = {
      service: 's',
      method: 'm',
      payload: Buffer.from('p'),
      timeoutNano: 2n ** 62n,
      metadata: [
        ['a', '1'],
        ['a', '2'],
      ],
    } as const;
    assert.deepEqual(decodeRequest(encodeRequest(request)), { ...request, payload: new Uint8Array(request.payload) });
    assert.throws(() => decodeRequest(Buffer.from('0aff', 'hex')));
    assert.throws(() => decodeResponse(Buffer.from('0a', 'hex')));
  });
});
