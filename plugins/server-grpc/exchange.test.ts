import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { pino } from 'pino';
import { ContentDefinition } from '../../api/content.js';
import { WriteAction, WriteContentRequest, WriteContentResponse } from '../../api/gen/services/content.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { notFound } from '../../kernel/errors.js';
import { Registry } from '../../kernel/registry.js';
import { digestOf } from '../../lib/digest.js';
import { implement } from '../../lib/rpc/definition.js';
import { statusNumber } from '../../lib/rpc/status.js';
import { eventually } from '../../test/harness/eventually.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { GrpcServer } from './server.js';

const MIB = 1024 * 1024;
const PATH = '/containerd.services.content.v1.Content/Write';
const OK = 0;

const missing = async (): Promise<never> => assert.fail('not part of this test');
const none = (): never => assert.fail('not part of this test');

const seen = { taken: 0, ended: 0 };

/** Answers each message with its length and digest; what the ref says beside that is done. */
const content = implement(ContentDefinition, {
  async *write(requests, call) {
    const { namespace } = call.scope();
    try {
      for await (const { ref, data, action } of requests) {
        seen.taken += 1;
        if (ref === 'missing') throw notFound(`nothing in ${namespace}`);
        if (ref === 'slow') for (let turns = 0; turns < 20; turns += 1) await turn();
        yield WriteContentResponse.fromPartial({ action, offset: BigInt(data.length), digest: digestOf(data) });
        if (ref === 'enough') return;
      }
    } finally {
      seen.ended += 1;
    }
  },
  ...{ info: missing, update: missing, delete: missing, status: missing, listStatuses: missing, abort: missing },
  ...{ list: none, read: none },
});

let dir: Scratch;
let server: GrpcServer;
let session: ClientHttp2Session;
const logged: string[] = [];

before(async () => {
  dir = await scratch('exchange');
  const registry = new Registry();
  registry.offer(GrpcServices, 'content', content);
  const log = pino({ level: 'error' }, { write: (line: string) => void logged.push(line) });
  const limits = { maxReceive: 4 * MIB, maxSend: MIB, drain: 300 };
  server = new GrpcServer({ services: registry.many(GrpcServices), isExpected: () => false, limits, log });
  const path = join(dir.path, 's');
  await server.start({ path, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });
  session = connectHttp2('http://localhost', { createConnection: () => connectSocket(path), maxSessionMemory: 1000 });
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

const piece = (ref: string, data: Uint8Array): Buffer =>
  framed(
    WriteContentRequest.encode(WriteContentRequest.fromPartial({ action: WriteAction.WRITE, ref, data })).finish(),
  );

const open = (headers: Record<string, string> = {}) =>
  session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
    'containerd-namespace': 'n',
    ...headers,
  });

/** Sends the bytes in pieces of that many, all at once, and gathers what comes back. */
async function exchange(body: Buffer, headers: Record<string, string> = {}, cut = body.length) {
  const stream = open(headers);
  const parts: Buffer[] = [];
  let trailers: Record<string, unknown> = {};
  const note = (received: Record<string, unknown>): void => {
    trailers = { ...trailers, ...received };
  };
  stream.on('response', note).on('trailers', note);
  stream.on('data', (part: Buffer) => parts.push(part));
  for (let at = 0; at < body.length; at += cut) stream.write(body.subarray(at, at + cut));
  stream.end();
  await once(stream, 'close');
  const answers: WriteContentResponse[] = [];
  for (let rest = Buffer.concat(parts); rest.length > 0; ) {
    const end = 5 + rest.readUInt32BE(1);
    answers.push(WriteContentResponse.decode(rest.subarray(5, end)));
    rest = rest.subarray(end);
  }
  return {
    status: Number(trailers['grpc-status']),
    message: decodeURI(String(trailers['grpc-message'] ?? '')),
    answers,
  };
}

const SIZES = [1, 0, 70_000, MIB, 3 * MIB, 5, MIB, 16_384];

/** Each of bytes of its own. */
const datas = SIZES.map((size, index) => Buffer.alloc(size, index + 1));

test('messages of all sizes come whole and in order, however they are cut, and each is answered', async () => {
  const body = Buffer.concat(datas.map((data) => piece('quick', data)));
  for (const cut of [body.length, 100_003, 16_384]) {
    const { status, answers } = await exchange(body, {}, cut);
    assert.equal(status, OK);
    assert.deepEqual(
      answers.map(({ digest }) => digest),
      datas.map((data) => digestOf(data)),
    );
  }
  assert.equal((await exchange(piece('bytes', Buffer.from('one')), {}, 1)).answers.length, 1);
  assert.deepEqual((await exchange(Buffer.alloc(0))).answers, []);
});

test('a message stays what it is until its handler asks for the next, whatever has come by then', async () => {
  const body = Buffer.concat(datas.map((data) => piece('slow', data)));
  const calls = await Promise.all(Array.from({ length: 6 }, () => exchange(body)));
  for (const { status, answers } of calls) {
    assert.equal(status, OK);
    assert.deepEqual(
      answers.map(({ digest }) => digest),
      datas.map((data) => digestOf(data)),
    );
  }
});

test('a handler may end before its caller does, well or not', async () => {
  const rest = piece('more', Buffer.alloc(2 * MIB));
  const { status, answers } = await exchange(Buffer.concat([piece('enough', Buffer.alloc(9)), rest, rest]));
  assert.deepEqual([status, answers.length], [OK, 1]);
  const failed = await exchange(Buffer.concat([piece('missing', Buffer.alloc(9)), rest, rest]));
  assert.deepEqual([failed.status, failed.message], [statusNumber('NOT_FOUND'), 'nothing in n']);
  const nowhere = await exchange(rest, { 'containerd-namespace': '' });
  assert.equal(nowhere.status, statusNumber('FAILED_PRECONDITION'));
});

test('messages that are broken, compressed or too large are refused, behind good ones too', async () => {
  const good = piece('quick', Buffer.alloc(10));
  const cases: [Buffer, number][] = [
    [good.subarray(0, 3), statusNumber('INTERNAL')],
    [good.subarray(0, -1), statusNumber('INTERNAL')],
    [framed(good.subarray(5), 1), statusNumber('INVALID_ARGUMENT')],
    [framed(Buffer.alloc(20, 0xff)), statusNumber('INVALID_ARGUMENT')],
    [framed(Buffer.alloc(4 * MIB + 1)), statusNumber('RESOURCE_EXHAUSTED')],
  ];
  for (const [body, code] of cases)
    for (const before of [[], [good]]) {
      const { status, answers } = await exchange(Buffer.concat([...before, body]));
      assert.deepEqual([status, answers.length], [code, before.length], body.subarray(0, 20).toString('hex'));
    }
  assert.deepEqual(logged, []);
});

test('a caller that goes away in the middle of a message ends the handler, which is no failure', async () => {
  const { taken, ended } = seen;
  const stream = open();
  stream.write(piece('quick', Buffer.alloc(10)));
  stream.write(piece('quick', Buffer.alloc(MIB)).subarray(0, 70_000));
  await eventually('the first message', () => seen.taken > taken || undefined);
  stream.close(constants.NGHTTP2_CANCEL);
  await eventually('the end of the handler', () => seen.ended > ended || undefined);
  assert.equal(seen.taken, taken + 1);
  assert.deepEqual(logged, []);
});

test('a call with a deadline is served like any other', async () => {
  const body = Buffer.concat(datas.map((data) => piece('slow', data)));
  assert.equal((await exchange(body, { 'grpc-timeout': '10S' })).answers.length, datas.length);
});
