import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { EventsDefinition } from '../../api/gen/services/events.js';
import { ImagesDefinition } from '../../api/gen/services/images.js';
import { StreamingDefinition } from '../../api/gen/services/streaming.js';
import { VersionDefinition } from '../../api/gen/services/version.js';
import { type Client, connect } from '../../client/index.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { ERROR_CODES, hasCode, KeelsonError, notFound } from '../../kernel/errors.js';
import { Registry } from '../../kernel/registry.js';
import { type Handlers, implement } from '../../lib/rpc/definition.js';
import { statusNumber } from '../../lib/rpc/status.js';
import { eventually } from '../../test/harness/eventually.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { GrpcServer } from './server.js';

const MIB = 1024 * 1024;
const OWNER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const envelope = (value: Uint8Array) => ({
  timestamp: undefined,
  namespace: 'n',
  topic: '/t',
  event: { typeUrl: 'u', value },
});

const missing = async (): Promise<never> => {
  throw notFound('not part of this test');
};

/** What the handlers of the test saw. */
const seen = { produced: 0, closed: 0, waiting: 0, aborted: [] as unknown[] };

const version: Handlers<typeof VersionDefinition> = {
  async version(_request, call) {
    const fail = call.metadata('fail');
    if (fail === 'bug') throw new TypeError('x is not a function');
    if (fail === 'wait') {
      seen.waiting += 1;
      await once(call.signal, 'abort');
      seen.waiting -= 1;
      seen.aborted.push(call.signal.reason);
    }
    if (fail !== undefined)
      throw new KeelsonError(ERROR_CODES.find((code) => code === fail) ?? 'INTERNAL', '100% of "é"\n failed');
    return { version: 'v', revision: call.scope().namespace };
  },
};

const images: Handlers<typeof ImagesDefinition> = {
  get: async ({ name }) => ({
    image: { name, labels: {}, target: undefined, createdAt: undefined, updatedAt: undefined },
  }),
  list: missing,
  create: missing,
  update: missing,
  delete: missing,
};

const events: Handlers<typeof EventsDefinition> = {
  publish: missing,
  forward: missing,
  async *subscribe({ filters }, call) {
    const [kind = 'endless'] = filters;
    if (kind === 'fails') throw notFound('no such thing');
    if (kind === 'silent') {
      await once(call.signal, 'abort');
      return;
    }
    try {
      const message = envelope(new Uint8Array(MIB / 2));
      for (let left = kind === 'endless' ? Number.POSITIVE_INFINITY : Number(kind); left > 0; left--) {
        seen.produced++;
        yield message;
      }
    } finally {
      seen.closed++;
    }
  },
};

let reader = Promise.withResolvers<Promise<void>>();
const drain = async (messages: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of messages);
};

const streaming: Handlers<typeof StreamingDefinition> = {
  async *stream(requests, call) {
    const leave = call.metadata('leave');
    if (leave !== undefined) {
      reader.resolve(drain(requests));
      yield { typeUrl: 'first', value: Buffer.alloc(0) };
      if (leave === 'by throwing') throw notFound('left');
      return;
    }
    for await (const message of requests) {
      if (message.typeUrl === 'stop') throw notFound('stopped');
      yield message;
    }
  },
};

const registry = new Registry();
registry.offer(GrpcServices, 'version', implement(VersionDefinition, version));
registry.offer(GrpcServices, 'images', implement(ImagesDefinition, images));
registry.offer(GrpcServices, 'events', implement(EventsDefinition, events));
registry.offer(GrpcServices, 'streaming', implement(StreamingDefinition, streaming));

const logged: string[] = [];
const log = pino({ level: 'error' }, { write: (line: string) => void logged.push(line) });

const startServer = async (address: string): Promise<GrpcServer> => {
  const limits = { maxReceive: 16 * MIB, maxSend: 16 * MIB, drain: 300 };
  const server = new GrpcServer({ services: registry.many(GrpcServices), isExpected: () => false, limits, log });
  await server.start({ path: address, ...OWNER });
  return server;
};

let dir: Scratch;
let server: GrpcServer;
let address: string;
let client: Client;

before(async () => {
  dir = await scratch('grpc');
  address = join(dir.path, 'd.sock');
  server = await startServer(address);
  client = connect({ address, namespace: 'default' });
});

after(async () => {
  client[Symbol.dispose]();
  await server.stop();
  await dir[Symbol.asyncDispose]();
});

/** A call with metadata of the test's own. */
const raw = async (
  headers: Record<string, string>,
  body: Buffer,
  { path = '/containerd.services.version.v1.Version/Version', at = address } = {},
) => {
  const session = connectHttp2('http://localhost', { createConnection: () => connectSocket(at) });
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const facts: Record<string, unknown> = {};
    stream.on('response', (fields) => Object.assign(facts, fields));
    stream.on('trailers', (fields) => Object.assign(facts, fields));
    stream.resume();
    stream.end(body);
    await once(stream, 'close');
    return { status: Number(facts['grpc-status']), message: decodeURIComponent(String(facts['grpc-message'] ?? '')) };
  } finally {
    session.close();
  }
};

const frame = (body: Uint8Array, flag = 0): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
};

test('a unary call is answered, with the namespace of its metadata', async () => {
  assert.deepEqual(await client.version.version({}), { version: 'v', revision: 'default' });
  assert.equal((await client.in('k8s.io').version.version({})).revision, 'k8s.io');
});

test('a call without a namespace is refused, a malformed one too', async () => {
  const none = connect({ address });
  await assert.rejects(
    none.version.version({}),
    (error) => hasCode(error, 'FAILED_PRECONDITION') && /namespace is required/.test(String(error)),
  );
  none[Symbol.dispose]();
  for (const namespace of ['..', 'a/b', '-a', 'a..b', 'x'.repeat(77)]) {
    await assert.rejects(
      client.in(namespace).version.version({}),
      (error) => hasCode(error, 'INVALID_ARGUMENT'),
      namespace,
    );
  }
  assert.equal((await client.in('x'.repeat(76)).version.version({})).version, 'v');
});

test('every error of the taxonomy arrives with its code and its message', async () => {
  for (const code of ERROR_CODES) {
    const { status, message } = await raw({ fail: code }, frame(new Uint8Array()));
    assert.equal(status, statusNumber(code));
    assert.equal(message, '100% of "é"\n failed', code);
  }
});

test('a bug in a handler is INTERNAL and logged, and the server lives', async () => {
  logged.length = 0;
  assert.deepEqual(await raw({ fail: 'bug' }, frame(new Uint8Array())), { status: 13, message: 'x is not a function' });
  assert.match(logged.join(''), /TypeError/);
  assert.equal((await client.version.version({})).version, 'v');
});

test('unknown services and methods are UNIMPLEMENTED', async () => {
  await assert.rejects(client.transfer.transfer({}), (error) => hasCode(error, 'UNIMPLEMENTED'));
  assert.equal((await raw({}, frame(new Uint8Array()), { path: '/a.B/C' })).status, 12);
});

test('bytes that are no message are INVALID_ARGUMENT', async () => {
  const path = '/containerd.services.images.v1.Images/Get';
  for (const body of [Uint8Array.of(0), Uint8Array.of(0x0a, 1, 0xff), new Uint8Array(1 << 20).fill(0x7b)]) {
    assert.equal((await raw({}, frame(body), { path })).status, 3);
  }
});

test('a message beyond the limit is refused at its header, or while it inflates', async () => {
  const announced = Buffer.alloc(5);
  announced.writeUInt32BE(17 * MIB, 1);
  const before = process.memoryUsage().rss;
  assert.equal((await raw({}, announced)).status, 8);
  const { gzipSync } = await import('node:zlib');
  const bomb = gzipSync(new Uint8Array(64 * MIB));
  assert.equal((await raw({ 'grpc-encoding': 'gzip' }, frame(bomb, 1))).status, 8);
  assert.ok(process.memoryUsage().rss - before < 128 * MIB);
});

test('messages up to the limit pass', async () => {
  const name = 'n'.repeat(15 * MIB);
  assert.equal((await client.images.get({ name })).image?.name.length, name.length);
});

test('a deadline ends a call and aborts its handler', async () => {
  seen.aborted.length = 0;
  const { status } = await raw({ fail: 'wait', 'grpc-timeout': '50m' }, frame(new Uint8Array()));
  assert.equal(status, 4);
  while (seen.aborted.length === 0) await sleep(5);
  assert.equal(hasCode(seen.aborted[0], 'DEADLINE_EXCEEDED'), true);
});

test('a stream is sent no faster than it is read, and leaving it stops its handler', async () => {
  seen.produced = 0;
  seen.closed = 0;
  const stream = client.events.subscribe({ filters: ['endless'] });
  const first = await stream.next();
  assert.equal(first.value?.event?.value.length, MIB / 2);
  let before = -1;
  while (before !== seen.produced) {
    before = seen.produced;
    await sleep(100);
  }
  assert.ok(seen.produced < 60, `the handler ran ahead by ${seen.produced} messages`);
  await stream.return?.();
  while (seen.closed === 0) await sleep(5);
});

test('a stream ends, or fails with the error of its handler', async () => {
  let count = 0;
  for await (const _ of client.events.subscribe({ filters: ['50'] })) count++;
  assert.equal(count, 50);
  await assert.rejects(client.events.subscribe({ filters: ['fails'] }).next(), (error) => hasCode(error, 'NOT_FOUND'));
});

test('headers of a stream come before its first message', async () => {
  const stream = client.events.subscribe({ filters: ['silent'] });
  await stream.opened;
  stream.cancel();
  await assert.rejects(stream.next(), (error) => hasCode(error, 'CANCELED'));
});

test('messages go both ways, and an error ends both', async () => {
  const input = new PassThrough({ objectMode: true });
  const stream = client.streaming.stream(input);
  for (const typeUrl of ['a', 'b', 'c']) {
    input.write({ typeUrl, value: Buffer.from(typeUrl) });
    assert.equal((await stream.next()).value?.typeUrl, typeUrl);
  }
  input.write({ typeUrl: 'stop' });
  await assert.rejects(stream.next(), (error) => hasCode(error, 'NOT_FOUND'));

  const got: string[] = [];
  const three = ['x', 'y', 'z'].map((typeUrl) => ({ typeUrl }));
  for await (const { typeUrl } of client.streaming.stream(Readable.from(three))) got.push(typeUrl);
  assert.deepEqual(got, ['x', 'y', 'z']);
});

test('a reader that a handler leaves behind ends with the call', async () => {
  for (const leave of ['by throwing', 'by returning']) {
    reader = Promise.withResolvers();
    const path = '/containerd.services.streaming.v1.Streaming/Stream';
    const session = connectHttp2('http://localhost', { createConnection: () => connectSocket(address) });
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', leave });
    stream.resume();
    stream.write(frame(new Uint8Array()));
    await await reader.promise;
    session.destroy();
  }
});

test('a client that gives up thousands of streams keeps its connection', async () => {
  const session = connectHttp2('http://localhost', { createConnection: () => connectSocket(address) });
  const path = '/containerd.services.version.v1.Version/Version';
  const call = () =>
    session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
  for (let round = 0; round < 15; round++) {
    const streams = Array.from({ length: 200 }, call);
    for (const stream of streams) stream.on('error', () => {}).write(frame(new Uint8Array()));
    await new Promise((resolve) => session.ping(resolve));
    for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
    await Promise.all(streams.map((stream) => once(stream, 'close')));
    await new Promise((resolve) => session.ping(resolve));
  }
  const last = call();
  last.end(frame(new Uint8Array()));
  const [headers] = await once(last, 'response');
  assert.equal(headers[':status'], 200);
  session.destroy();
});

test('an error of those who send ends the call with it', async () => {
  const reason = notFound('nothing to send');
  const broken = Readable.from(
    (async function* () {
      yield { typeUrl: 'x' };
      throw reason;
    })(),
  );
  const stream = client.streaming.stream(broken);
  await assert.rejects(
    (async () => {
      for await (const _ of stream);
    })(),
    reason,
  );
});

test('aborting a signal cancels the call', async () => {
  const reason = new KeelsonError('ABORTED', 'enough');
  const controller = new AbortController();
  const stream = client.events.subscribe({ filters: ['silent'] }, { signal: controller.signal });
  await stream.opened;
  controller.abort(reason);
  await assert.rejects(stream.next(), reason);
  await assert.rejects(client.version.version({}, { signal: controller.signal }), reason);
});

test('stopping ends streams at once and other calls after the drain time', async () => {
  const at = join(dir.path, 'second.sock');
  const second = await startServer(at);
  const peer = connect({ address: at, namespace: 'default' });
  const stream = peer.events.subscribe({ filters: ['silent'] });
  await stream.opened;
  const pending = stream.next();
  const started = Date.now();
  const ended = assert.rejects(pending, (error) => hasCode(error, 'UNAVAILABLE'));
  await Promise.all([ended, second.stop()]);
  assert.ok(Date.now() - started < 300);
  await assert.rejects(
    peer.version.version({}),
    (error) => hasCode(error, 'UNAVAILABLE') && /second\.sock.*keelsond/.test(String(error)),
  );
  peer[Symbol.dispose]();
});

test('who says nothing, or nothing sensible, is let go of and harms nobody', async () => {
  const at = join(dir.path, 'third.sock');
  const third = await startServer(at);
  const connected = async () => {
    const socket = connectSocket(at);
    await once(socket, 'connect');
    return socket;
  };
  const silent = await Promise.all(Array.from({ length: 50 }, connected));
  (await connected()).destroy();
  const rude = await connected();
  rude.end('GET / HTTP/1.1\r\n\r\n');
  await once(rude.resume(), 'close');
  const waiting = raw({ fail: 'wait' }, frame(new Uint8Array()), { at });
  await eventually('the call', () => seen.waiting || undefined);
  const order: string[] = [];
  const closed = silent.map((socket) => once(socket.resume(), 'close').then(() => order.push('silent')));
  const ended = waiting.then(() => order.push('call'));
  await Promise.all([third.stop(), ended, ...closed]);
  // Not when the call of somebody else has had its time.
  assert.deepEqual(order, [...silent.map(() => 'silent'), 'call']);
});
