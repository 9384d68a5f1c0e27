import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { ContentDefinition } from '../../api/content.js';
import { InfoRequest, InfoResponse, ReadContentRequest, ReadContentResponse } from '../../api/gen/services/content.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { notFound } from '../../kernel/errors.js';
import { Registry } from '../../kernel/registry.js';
import { implement } from '../../lib/rpc/definition.js';
import { statusNumber } from '../../lib/rpc/status.js';
import { eventually } from '../../test/harness/eventually.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { GrpcServer } from './server.js';

const MIB = 1024 * 1024;
const PATH = '/containerd.services.content.v1.Content/Read';
const [OK, NOT_FOUND] = [0, statusNumber('NOT_FOUND')];
const [INTERNAL, EXHAUSTED] = [statusNumber('INTERNAL'), statusNumber('RESOURCE_EXHAUSTED')];

const missing = async (): Promise<never> => assert.fail('not part of this test');
const none = (): never => assert.fail('not part of this test');

const seen = { produced: 0, ended: 0 };
let stubborn = Promise.withResolvers<void>();

/** What it sends is `size` bytes for each of the sizes in the digest, then what is said behind them. */
const content = implement(ContentDefinition, {
  async *read({ digest, offset }, call) {
    const { namespace } = call.scope();
    const [sizes = '', end] = digest.split(' ');
    try {
      if (end === 'endless') for (;;) yield produce(MIB);
      for (const size of sizes.split(',').filter(Boolean)) yield { ...produce(Number(size)), offset };
      if (end === 'waits') await once(call.signal, 'abort');
      if (end === 'missing') throw notFound(`100% of "é" in ${namespace}`);
      if (end === 'bug') throw new TypeError('x is not a function');
    } finally {
      seen.ended += 1;
    }
  },
  /** Answers with as many labels as the digest says; "wait" waits for the end of the call, "stubborn" for longer. */
  async info({ digest }, call) {
    const { namespace } = call.scope();
    if (digest === 'stubborn') await stubborn.promise;
    if (digest === 'missing') throw notFound(`nothing in ${namespace}`);
    if (digest === 'wait') {
      seen.produced += 1;
      await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
      seen.ended += 1;
      call.signal.throwIfAborted();
    }
    const labels = Object.fromEntries(
      Array.from({ length: Number(digest) }, (_, index) => [`label-${index}`, namespace]),
    );
    return { info: { digest, size: 0n, createdAt: undefined, updatedAt: undefined, labels } };
  },
  ...{ update: missing, delete: missing, status: missing, listStatuses: missing, abort: missing },
  ...{ list: none, write: none },
});

function produce(size: number): ReadContentResponse {
  seen.produced += 1;
  return { offset: 0n, data: Buffer.alloc(size, seen.produced) };
}

let dir: Scratch;
let server: GrpcServer;
let session: ClientHttp2Session;
const logged: string[] = [];

before(async () => {
  dir = await scratch('lane');
  const registry = new Registry();
  registry.offer(GrpcServices, 'content', content);
  const log = pino({ level: 'error' }, { write: (line: string) => void logged.push(line) });
  const limits = { maxReceive: MIB, maxSend: 4 * MIB, drain: 300 };
  server = new GrpcServer({ services: registry.many(GrpcServices), isExpected: () => false, limits, log });
  const path = join(dir.path, 's');
  await server.start({ path, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });
  session = connectHttp2('http://localhost', { createConnection: () => connectSocket(path) });
});

after(async () => {
  session.close();
  await server.stop();
  await dir[Symbol.asyncDispose]();
});

const framed = (message: Uint8Array, flag = 0): Buffer => {
  const prefix = Buffer.from([flag, 0, 0, 0, 0]);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
};

const asking = (digest: string, offset = 0n): Buffer =>
  framed(ReadContentRequest.encode(ReadContentRequest.fromPartial({ digest, offset })).finish());

interface Answer {
  readonly status: number;
  readonly message: string;
  readonly messages: readonly ReadContentResponse[];
}

const INFO = '/containerd.services.content.v1.Content/Info';

/** One answer, and the status. */
async function ask(body: Uint8Array, headers: Record<string, string> = {}) {
  const { status, message, answers } = await exchange(body, { ':path': INFO, ...headers });
  return { status, message, infos: answers.map((bytes) => InfoResponse.decode(bytes).info) };
}

const about = (digest: string): Buffer => framed(InfoRequest.encode({ digest }).finish());

const open = (headers: Record<string, string> = {}) =>
  session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
    'containerd-namespace': 'n',
    ...headers,
  });

async function call(body: Uint8Array, headers: Record<string, string> = {}): Promise<Answer> {
  const { status, message, answers } = await exchange(body, headers);
  return { status, message, messages: answers.map((bytes) => ReadContentResponse.decode(bytes)) };
}

async function exchange(body: Uint8Array, headers: Record<string, string>) {
  const stream = open(headers);
  const parts: Buffer[] = [];
  let trailers: Record<string, unknown> = {};
  stream.on('response', (received) => {
    trailers = { ...trailers, ...received };
  });
  stream.on('trailers', (received) => {
    trailers = { ...trailers, ...received };
  });
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.end(body);
  await once(stream, 'close');
  const answers: Buffer[] = [];
  for (let rest = Buffer.concat(parts); rest.length > 0; ) {
    const end = 5 + rest.readUInt32BE(1);
    answers.push(rest.subarray(5, end));
    rest = rest.subarray(end);
  }
  const text = String(trailers['grpc-message'] ?? '');
  return { status: Number(trailers['grpc-status']), message: decodeURI(text), answers };
}

test('messages of all sizes arrive as they were sent', async () => {
  const sizes = [0, 1, 127, 128, 32_768, MIB, 3 * MIB, 5];
  for (const offset of [0n, 7n, 2n ** 40n]) {
    const before = seen.produced;
    const { status, messages } = await call(asking(sizes.join(','), offset));
    assert.equal(status, OK);
    assert.deepEqual(
      messages.map(({ data }) => data.length),
      sizes,
    );
    for (const [index, message] of messages.entries()) {
      assert.equal(message.offset, offset);
      assert.ok(message.data.every((byte) => byte === ((before + index + 1) & 0xff)));
    }
  }
});

test('calls side by side do not get what is meant for others', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => call(asking('40000,40000,40000'))));
  for (const { status, messages } of answers) {
    assert.deepEqual([status, messages.length], [OK, 3]);
    for (const { data } of messages) assert.ok(data.every((byte) => byte === data[0]));
  }
});

test('a failure has its code and its words, before the first message and after it', async () => {
  for (const sizes of ['', '10']) {
    const { status, message, messages } = await call(asking(`${sizes} missing`));
    assert.deepEqual([status, message], [NOT_FOUND, '100% of "é" in n']);
    assert.equal(messages.length, sizes === '' ? 0 : 1);
  }
  assert.deepEqual(logged, []);
  assert.equal((await call(asking(' bug'))).status, INTERNAL);
  assert.match(logged.splice(0).join(), /x is not a function/);
});

test('what needs a namespace says so, and an answer may not be larger than allowed', async () => {
  const stream = await call(asking('1'), { 'containerd-namespace': '' });
  assert.equal(stream.status, statusNumber('FAILED_PRECONDITION'));
  assert.equal((await call(asking(`${5 * MIB}`))).status, EXHAUSTED);
});

test('requests that are broken, compressed, too many or too large are refused', async () => {
  const request = asking('1');
  const cases: [Buffer, number][] = [
    [Buffer.alloc(0), INTERNAL],
    [request.subarray(0, 3), INTERNAL],
    [request.subarray(0, -1), INTERNAL],
    [Buffer.concat([request, request]), INTERNAL],
    [framed(request.subarray(5), 1), statusNumber('INVALID_ARGUMENT')],
    [framed(Buffer.alloc(20, 0xff)), statusNumber('INVALID_ARGUMENT')],
    [framed(Buffer.alloc(MIB + 1)), EXHAUSTED],
  ];
  for (const [body, code] of cases)
    for (const path of [PATH, INFO]) {
      const { status } = await exchange(body, { ':path': path });
      assert.equal(status, code, `${path} ${body.subarray(0, 20).toString('hex')}`);
    }
});

test('a request that is too large is refused when its length is known, not when it has come', async () => {
  for (const path of [PATH, INFO]) {
    const stream = open({ ':path': path });
    const announced = Buffer.alloc(5);
    announced.writeUInt32BE(MIB + 1, 1);
    stream.write(announced.subarray(0, 3));
    stream.write(announced.subarray(3));
    const [headers] = await once(stream, 'response');
    assert.equal(Number(headers['grpc-status']), EXHAUSTED);
    stream.close(constants.NGHTTP2_CANCEL);
  }
});

test('one answer comes whole, in many at once too, or the failure', async () => {
  const { status, infos } = await ask(about('3'));
  assert.equal(status, OK);
  assert.deepEqual(
    infos.map((info) => info?.labels),
    [{ 'label-0': 'n', 'label-1': 'n', 'label-2': 'n' }],
  );
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(about(String(index)))));
  assert.deepEqual(
    answers.map(({ infos: [info] }) => Object.keys(info?.labels ?? {}).length),
    answers.map((_, index) => index),
  );
  assert.deepEqual(await ask(about('missing')), { status: NOT_FOUND, message: 'nothing in n', infos: [] });
  assert.equal((await ask(about('300000'))).status, EXHAUSTED);
  assert.equal((await ask(about('1'), { 'containerd-namespace': '' })).status, statusNumber('FAILED_PRECONDITION'));
  assert.equal((await ask(about('1'), { 'grpc-timeout': '10S' })).status, OK);
  assert.equal((await ask(about('wait'), { 'grpc-timeout': '100m' })).status, statusNumber('DEADLINE_EXCEEDED'));
});

test('a deadline is told in time, also of a handler that goes on, and one that makes no sense is refused', async () => {
  stubborn = Promise.withResolvers();
  const answer = await ask(about('stubborn'), { 'grpc-timeout': '50000u' });
  assert.equal(answer.status, statusNumber('DEADLINE_EXCEEDED'));
  stubborn.resolve();
  for (const timeout of ['1', '5x', ''])
    assert.notEqual((await ask(about('1'), { 'grpc-timeout': timeout })).status, OK, timeout);
  for (const timeout of ['99999999H', '1M', '99999999n'])
    assert.equal((await ask(about('1'), { 'grpc-timeout': timeout })).status, OK, timeout);
  assert.deepEqual(logged, []);
});

test('a caller that goes away before it has its answer ends the handler', async () => {
  const [produced, ended] = [seen.produced, seen.ended];
  const stream = open({ ':path': INFO });
  stream.end(about('wait'));
  await eventually('the call', () => seen.produced > produced || undefined);
  stream.close(constants.NGHTTP2_CANCEL);
  await eventually('the end of the handler', () => seen.ended > ended || undefined);
  assert.equal((await ask(about('1'))).status, OK);
});

test('a caller that goes away ends the handler; one that does not read holds it up', async () => {
  const [produced, ended] = [seen.produced, seen.ended];
  const stream = open();
  const response = once(stream, 'response');
  stream.end(asking(' endless'));
  await eventually('the first messages', () => seen.produced > produced || undefined);
  await response;
  assert.ok(seen.produced - produced < 20, 'the caller reads nothing');
  stream.close(constants.NGHTTP2_CANCEL);
  await eventually('the end of the handler', () => seen.ended > ended || undefined);
  const early = open();
  early.close(constants.NGHTTP2_CANCEL);
  await once(early, 'close');
  assert.equal((await call(asking('1'))).status, OK);
});

test('a deadline is kept, and a foreign content type refused', async () => {
  assert.equal((await call(asking('5'), { 'grpc-timeout': '10S' })).messages[0]?.data.length, 5);
  const { status, messages } = await call(asking('5 waits'), { 'grpc-timeout': '100m' });
  assert.deepEqual([status, messages.length], [statusNumber('DEADLINE_EXCEEDED'), 1]);
  const stream = open({ 'content-type': 'text/plain' });
  stream.end();
  const [headers] = await once(stream, 'response');
  assert.equal(headers[':status'], 415);
});
