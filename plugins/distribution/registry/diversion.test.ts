/** Bodies large enough to go past the HTTP parser: they arrive as small ones do, and fail as these. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Certificates, makeCertificates } from '../../../test/hostile/certificates.js';
import { type Reply, ScriptedRegistry } from '../../../test/hostile/registry.js';
import { IMPATIENT, never, openSession } from '../../../test/hostile/sessions.js';
import { defaultHost } from './host.js';
import type { BlobTarget, RegistrySession } from './session.js';

const MB = 2 ** 20;
const bytes = randomBytes(6 * MB + 12_345);

/** Takes chunks as a pull does: two buffers in turn, which `slowly` may hold back. */
async function fetched(
  session: RegistrySession,
  entry: Parameters<RegistrySession['fetchBlob']>[0],
  slowly: () => Promise<unknown> = async () => {},
): Promise<Buffer> {
  const parts: Buffer[] = [];
  const buffers = [new Uint8Array(new SharedArrayBuffer(MB)), new Uint8Array(new SharedArrayBuffer(MB))];
  let turn = 0;
  const target: BlobTarget = {
    offset: 0,
    allocate: (remaining) => (buffers[turn++ % 2] ?? new Uint8Array(MB)).subarray(0, Math.min(MB, remaining)),
    async take(chunk) {
      await slowly();
      parts.push(Buffer.from(chunk));
    },
  };
  await session.fetchBlob(entry, target, never);
  return Buffer.concat(parts);
}

describe('a large body', () => {
  let registry: ScriptedRegistry;
  const open = () => openSession(`${registry.host}/team/app:t`);

  before(async () => {
    registry = await ScriptedRegistry.start();
  });
  after(() => registry[Symbol.asyncDispose]());
  beforeEach(() => registry.forget());

  it('arrives whole, also beside others and after small ones on the same connection', async () => {
    const entry = registry.addBlob(bytes);
    const small = registry.addBlob(randomBytes(10_000));
    using here = open();
    await fetched(here.session, small);
    assert.ok((await fetched(here.session, entry, () => delay(Math.random() * 10))).equals(bytes));
    const all = await Promise.all(Array.from({ length: 4 }, () => fetched(here.session, entry)));
    for (const one of all) assert.ok(one.equals(bytes));
    await fetched(here.session, small);
    assert.equal(registry.requests.length, 7);
  });

  it('arrives whole over TLS', async () => {
    const keys: Certificates = await makeCertificates();
    await using secure = await ScriptedRegistry.start(keys.server);
    const entry = secure.addBlob(bytes);
    const hosts = [{ ...defaultHost(secure.host, 'https'), tls: { ca: [keys.authority] } }];
    using here = openSession(`${secure.host}/team/app:t`, { hosts });
    assert.ok((await fetched(here.session, entry)).equals(bytes));
    assert.ok((await fetched(here.session, entry, () => delay(20))).equals(bytes));
  });

  it('waits for a slow consumer, whose time does not count', async () => {
    const entry = registry.addBlob(bytes);
    using here = open();
    let turns = 0;
    const got = await fetched(here.session, entry, () => delay(turns++ === 1 ? IMPATIENT.idleTimeout + 200 : 30));
    assert.ok(got.equals(bytes));
    assert.equal(registry.requests.length, 1);
  });

  it('is continued when connections end early, and no byte is fetched twice', async () => {
    const entry = registry.addBlob(bytes);
    const cut: Reply = (response, { headers }) => {
      const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
      const range = start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {};
      response.writeHead(start > 0 ? 206 : 200, { 'content-length': bytes.length - start, ...range });
      response.write(bytes.subarray(start, start + 2.5 * MB), () => response.socket?.destroySoon());
    };
    registry.script(/blobs/, cut, 2);
    using here = open();
    assert.ok((await fetched(here.session, entry, () => delay(5))).equals(bytes));
    const starts = registry.requests.map(({ headers }) => Number(/\d+/.exec(headers.range ?? '0')?.[0]));
    assert.deepEqual(starts, [0, 2.5 * MB, 5 * MB]);
  });

  it('is given up when nothing more comes', async () => {
    const entry = registry.addBlob(bytes);
    registry.script(/blobs/, (response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 2 * MB));
    });
    registry.script(/blobs/, (response) => response.writeHead(404).end());
    using here = open();
    await assert.rejects(fetched(here.session, entry), { code: 'NOT_FOUND' });
    assert.equal(registry.requests.length, 2);
  });

  it('ends with its last byte, whatever the server sends behind it', async () => {
    const entry = registry.addBlob(bytes);
    registry.script(/blobs/, (response) => {
      response.socket?.write(`HTTP/1.1 200 OK\r\ncontent-length: ${bytes.length}\r\n\r\n`);
      response.socket?.write(Buffer.concat([bytes, randomBytes(3 * MB)]));
    });
    using here = open();
    assert.ok((await fetched(here.session, entry)).equals(bytes));
  });

  it('ends with what its consumer throws', async () => {
    const entry = registry.addBlob(bytes);
    using here = open();
    let turns = 0;
    const failing = async () => {
      if (turns++ === 2) throw new TypeError('disk full');
    };
    await assert.rejects(fetched(here.session, entry, failing), { name: 'TypeError', message: 'disk full' });
    assert.equal(registry.requests.length, 1);
  });

  it('stops with its session', async () => {
    const entry = registry.addBlob(bytes);
    using here = open();
    const stopping = async () => here.session.close();
    await assert.rejects(fetched(here.session, entry, stopping), { code: 'CANCELED' });
  });
});
