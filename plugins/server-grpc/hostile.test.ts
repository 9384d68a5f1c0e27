/** What broken and hostile peers send, byte by byte (RFC 9113). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { ImagesDefinition } from '../../api/gen/services/images.js';
import { type Client, connect } from '../../client/index.js';
import { GrpcServices } from '../../kernel/contracts/grpc.js';
import { Registry } from '../../kernel/registry.js';
import { implement } from '../../lib/rpc/definition.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { GrpcServer } from './server.js';

const MIB = 1024 * 1024;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const CONTINUATION = 9;
const END_HEADERS = 4;
const END_STREAM = 1;

const missing = async (): Promise<never> => assert.fail('not part of this test');

let dir: Scratch;
let server: GrpcServer;
let address: string;
let bystander: Client;

before(async () => {
  dir = await scratch('hostile');
  address = join(dir.path, 's');
  const images = implement(ImagesDefinition, {
    get: async ({ name }) => ({
      image: { name, labels: {}, target: undefined, createdAt: undefined, updatedAt: undefined },
    }),
    list: missing,
    create: missing,
    update: missing,
    delete: missing,
  });
  const limits = { maxReceive: 16 * MIB, maxSend: 16 * MIB, drain: 100 };
  const registry = new Registry();
  registry.offer(GrpcServices, 'images', images);
  const log = pino({ level: 'silent' });
  server = new GrpcServer({ services: registry.many(GrpcServices), isExpected: () => false, limits, log });
  await server.start({ path: address, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });
  bystander = connect({ address });
  await bystander.images.get({ name: 'x' });
});

after(async () => {
  bystander[Symbol.dispose]();
  await server.stop();
  await dir[Symbol.asyncDispose]();
});

function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header field as it is, without compression (RFC 7541, 6.2.2). */
function literal(name: string, value: string): Buffer {
  const bytes = [name, value].flatMap((text) => {
    assert.ok(text.length < 127);
    return [Buffer.from([text.length]), Buffer.from(text)];
  });
  return Buffer.concat([Buffer.from([0]), ...bytes]);
}

const request = Buffer.concat([
  literal(':method', 'POST'),
  literal(':scheme', 'http'),
  literal(':authority', 'localhost'),
  literal(':path', '/containerd.services.images.v1.Images/Get'),
  literal('content-type', 'application/grpc'),
  literal('te', 'trailers'),
]);

interface Peer extends Disposable {
  readonly socket: Socket;
  /** Writes until it is through or the server hangs up. */
  send(bytes: Uint8Array): Promise<void>;
}

async function peer(settings: Uint8Array = Buffer.alloc(0), reads = true): Promise<Peer> {
  const socket = connectSocket(address);
  socket.on('error', () => undefined);
  if (reads) socket.resume();
  else socket.pause();
  await once(socket, 'connect');
  socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, settings)]));
  return {
    socket,
    async send(bytes) {
      if (socket.destroyed) return;
      const written = new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
      await Promise.race([written, sleep(100)]);
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

/** The server answers others at once, and has not grown beyond `growth` bytes. */
async function alive(before: number, growth: number): Promise<void> {
  const start = performance.now();
  await bystander.images.get({ name: 'x' });
  assert.ok(performance.now() - start < 1000, 'the server was busy');
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < growth, `memory grew by ${Math.round(grown / MIB)} MiB`);
}

const rss = (): number => process.memoryUsage().rss;

async function openAndReset(streams: number): Promise<void> {
  using hostile = await peer();
  for (let id = 1; id < 2 * streams; id += 2) {
    await hostile.send(
      Buffer.concat([frame(HEADERS, END_HEADERS, id, request), frame(RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8]))]),
    );
  }
}

test('streams opened and reset in a row', async () => {
  const idle = rss();
  await openAndReset(20_000);
  await alive(idle, 256 * MIB);
  // The heap has grown to what such a flood takes by now: another one takes no more.
  const flooded = rss();
  await openAndReset(20_000);
  await alive(flooded, 64 * MIB);
});

test('headers continued without end', async () => {
  const before = rss();
  using hostile = await peer();
  await hostile.send(frame(HEADERS, 0, 1, request));
  const more = frame(
    CONTINUATION,
    0,
    1,
    Buffer.concat(Array.from({ length: 500 }, () => literal('x-a', 'b'.repeat(20)))),
  );
  for (let i = 0; i < 5000; i++) await hostile.send(more);
  assert.equal(hostile.socket.destroyed || hostile.socket.readableEnded, true, 'the connection is still open');
  await alive(before, 128 * MIB);
});

for (const [name, bytes] of [
  ['pings', frame(PING, 0, 0, Buffer.alloc(8))],
  ['settings', frame(SETTINGS, 0, 0)],
] as const) {
  test(`${name} without reading the answers`, async () => {
    const before = rss();
    using hostile = await peer(undefined, false);
    const many = Buffer.concat(Array.from({ length: 1000 }, () => bytes));
    for (let i = 0; i < 500; i++) await hostile.send(many);
    await alive(before, 128 * MIB);
  });
}

test('many calls with no room for the answers', async () => {
  const before = rss();
  const noWindow = Buffer.from([0, 4, 0, 0, 0, 0]);
  using hostile = await peer(noWindow);
  const message = Buffer.from([0, 0, 0, 0, 0]);
  for (let id = 1; id < 4000; id += 2) {
    await hostile.send(Buffer.concat([frame(HEADERS, END_HEADERS, id, request), frame(DATA, END_STREAM, id, message)]));
  }
  await alive(before, 256 * MIB);
});

test('bytes that are not HTTP/2, and silence', async () => {
  const before = rss();
  const silent = await Promise.all(Array.from({ length: 200 }, () => peer()));
  const socket = connectSocket(address);
  socket.on('error', () => undefined);
  socket.end('GET / HTTP/1.1\r\n\r\n');
  socket.resume();
  await once(socket, 'close');
  await alive(before, 128 * MIB);
  for (const { socket } of silent) socket.destroy();
});

test('a message that never ends, and a length that lies', async () => {
  const before = rss();
  using hostile = await peer();
  const announced = Buffer.from([0, 0, 0xff, 0xff, 0xff]);
  await hostile.send(Buffer.concat([frame(HEADERS, END_HEADERS, 1, request), frame(DATA, 0, 1, announced)]));
  for (let i = 0; i < 3000; i++) await hostile.send(frame(DATA, 0, 1, Buffer.alloc(16_000)));
  await alive(before, 128 * MIB);
});
