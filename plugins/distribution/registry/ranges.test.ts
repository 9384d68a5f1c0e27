/** Blobs in ranges side by side: assembled in order whatever servers do, or refused. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Limit } from '../../../lib/limit.js';
import { eventually } from '../../../test/harness/eventually.js';
import { type Entry, type Reply, refuse, resetAfter, ScriptedRegistry } from '../../../test/hostile/registry.js';
import { IMPATIENT, openSession, type TestSession } from '../../../test/hostile/sessions.js';
import { defaultHost } from './host.js';

const MB = 2 ** 20;
const bytes = randomBytes(7 * MB + 4321);
const last = bytes.length - 1;

/** What a download of several ranges at once needs and gets. */
class Download {
  readonly limit: Limit;
  readonly controller = new AbortController();
  readonly #parts: Buffer[] = [];
  readonly received: number[] = [];
  onTake: () => Promise<void> = async () => {};

  /** As many connections as `turns`, one of which the download has already. */
  constructor(turns = 3) {
    this.limit = new Limit(turns);
  }

  async run({ session }: TestSession, entry: Entry, offset = 0): Promise<Buffer> {
    const target = {
      offset,
      ranges: { size: MB, idle: () => this.limit.takeIdle() },
      received: (count: number) => void this.received.push(count),
      allocate: (remaining: number) => Buffer.alloc(Math.min(MB, remaining)),
      take: async (chunk: Uint8Array) => {
        await this.onTake();
        this.#parts.push(Buffer.from(chunk));
      },
    };
    await this.limit.run(() => session.fetchBlob(entry, target, this.controller.signal));
    return Buffer.concat(this.#parts);
  }

  /** All turns were given back, once. */
  assertIdle(turns = 3): void {
    for (let turn = 0; turn < turns; turn++) assert.ok(this.limit.takeIdle(), `turn ${turn}`);
    assert.equal(this.limit.takeIdle(), undefined);
  }
}

const partial =
  (headers: Record<string, string | number>, body = 'x'): Reply =>
  (response) => {
    response.on('error', () => {});
    response.writeHead(206, headers).write(body);
  };

describe('a blob in ranges', () => {
  let registry: ScriptedRegistry;
  let entry: Entry;
  const open = () => openSession(`${registry.host}/team/app:t`);
  const requested = (count: number) =>
    eventually(`${count} requests`, () => registry.requests.length === count || undefined);
  const ranges = () => registry.requests.map(({ headers }) => headers.range);

  // One for each test: what a test that failed early asked for may still arrive when the next one counts.
  beforeEach(async () => {
    registry = await ScriptedRegistry.start();
    entry = registry.addBlob(bytes);
  });
  afterEach(() => registry[Symbol.asyncDispose]());

  it('comes side by side, in order and no byte twice', async () => {
    // The first range keeps its bytes until two more were asked for.
    registry.script(/blobs/, (response) => {
      response.writeHead(206, { 'content-length': MB, 'content-range': `bytes 0-${MB - 1}/${bytes.length}` });
      response.flushHeaders();
      void requested(3).then(() => response.end(bytes.subarray(0, MB)));
    });
    using here = open();
    const download = new Download();
    assert.ok((await download.run(here, entry)).equals(bytes));
    const starts = [0, 1, 2, 3, 4, 5, 6, 7].map((index) => index * MB);
    assert.deepEqual(
      ranges().sort(),
      starts.map((start) => `bytes=${start}-${Math.min(start + MB - 1, last)}`),
    );
    assert.equal(download.received.at(-1), bytes.length);
    assert.deepEqual(
      download.received,
      download.received.toSorted((a, b) => a - b),
    );
    download.assertIdle();
  });

  it('goes on from what is there, by itself where no connection is idle, and in one request where it is small', async () => {
    using here = open();
    const alone = new Download(1);
    assert.ok((await alone.run(here, entry, 5 * MB + 7)).equals(bytes.subarray(5 * MB + 7)));
    assert.deepEqual(ranges(), [
      `bytes=${5 * MB + 7}-${6 * MB + 6}`,
      `bytes=${6 * MB + 7}-${7 * MB + 6}`,
      `bytes=${7 * MB + 7}-${last}`,
    ]);
    registry.forget();
    await new Download().run(here, entry, 7 * MB);
    await new Download().run(here, registry.addBlob(randomBytes(MB)));
    assert.deepEqual(ranges(), [`bytes=${7 * MB}-`, undefined]);
  });

  it('leaves connections to the blobs that wait for one', async () => {
    using here = open();
    const download = new Download(2);
    const order: string[] = [];
    const other = Promise.withResolvers<void>();
    download.onTake = async () => {
      order.push('chunk');
      if (order.length !== 1) return;
      // Both turns are taken by ranges now; this one gets the next that is free.
      await requested(2);
      void download.limit.run(async () => void order.push('other')).then(other.resolve);
    };
    await download.run(here, entry);
    await other.promise;
    assert.ok(order.indexOf('other') <= 3, order.join());
    download.assertIdle(2);
  });

  it('is held in memory as far as there are connections, and no further', async () => {
    using here = open();
    const download = new Download();
    const gate = Promise.withResolvers<void>();
    download.onTake = () => gate.promise;
    const running = download.run(here, entry);
    await eventually('three ranges are here', () => download.received.at(-1) === 3 * MB || undefined);
    assert.equal(registry.requests.length, 3);
    gate.resolve();
    assert.ok((await running).equals(bytes));
  });

  it('is continued range by range after resets, with hardly a byte fetched twice', async () => {
    registry.script(/blobs/, resetAfter(bytes, 300_000), 12);
    using here = open();
    assert.ok((await new Download().run(here, entry)).equals(bytes));
    const asked = ranges().reduce((sum, range = '') => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
      return sum + Number(to) - Number(from) + 1;
    }, 0);
    assert.ok(registry.requests.length >= 12);
    // What a range asked for and did not get before its connection broke was asked for again.
    assert.ok(asked <= bytes.length + 12 * (MB - 300_000) * 1.05, `${asked} bytes`);
  });

  const withoutRanges: readonly (readonly [string, Reply])[] = [
    ['Range is ignored', (response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes)],
    ['ranges are refused', (response) => refuse(response, 416, 'RANGE_INVALID', 'no ranges here')],
  ];
  for (const [name, reply] of withoutRanges) {
    it(`comes in one request where ${name}, and so do those after it`, async () => {
      const whole: Reply = (response, request, normal) => {
        if (request.headers.range === undefined) normal();
        else reply(response, request, normal);
      };
      registry.script(/blobs/, whole, 100);
      using here = open();
      assert.ok((await new Download().run(here, entry)).equals(bytes));
      assert.deepEqual(ranges(), [`bytes=0-${MB - 1}`, undefined]);
      assert.ok((await new Download().run(here, entry)).equals(bytes));
      assert.equal(registry.requests.length, 3);
    });
  }

  it('is put together right when ranges are ignored from its middle on', async () => {
    for (let index = 0; index < 2; index++) registry.script(/blobs/, (_response, _request, normal) => normal());
    registry.script(/blobs/, (response) => response.end(bytes), 100);
    using here = open();
    const download = new Download();
    assert.ok((await download.run(here, entry)).equals(bytes));
    download.assertIdle();
  });

  it('is taken from the mirror that ignores Range, not from the host behind it', async () => {
    await using mirror = await ScriptedRegistry.start();
    mirror.addBlob(bytes);
    mirror.script(/blobs/, (response) => response.end(bytes), 100);
    const hosts = [defaultHost(mirror.host), defaultHost(registry.host)];
    using here = openSession(`${registry.host}/team/app:t`, { hosts });
    assert.ok((await new Download().run(here, entry)).equals(bytes));
    assert.equal(registry.requests.length, 0);
  });

  const size = bytes.length;
  for (const [name, headers] of [
    ['another start', { 'content-range': `bytes ${MB - 1}-${2 * MB - 1}/${size}` }],
    ['another end', { 'content-range': `bytes ${MB}-${2 * MB}/${size}` }],
    ['a shorter range', { 'content-range': `bytes ${MB}-${2 * MB - 2}/${size}` }],
    ['the range before it', { 'content-range': `bytes 0-${MB - 1}/${size}` }],
    ['another total', { 'content-range': `bytes ${MB}-${2 * MB - 1}/${size + 1}` }],
    ['no range', {}],
    ['another length', { 'content-range': `bytes ${MB}-${2 * MB - 1}/${size}`, 'content-length': MB + 1 }],
  ] as const) {
    it(`is refused when a later part has ${name}`, async () => {
      registry.script(/blobs/, (_response, _request, normal) => normal());
      registry.script(/blobs/, partial(headers));
      using here = open();
      const download = new Download(1);
      await assert.rejects(download.run(here, entry), { code: 'FAILED_PRECONDITION', message: /offers other bytes/ });
      download.assertIdle(1);
    });
  }

  it('is cut where a range gets longer than it was asked for', async () => {
    const headers = { 'content-range': `bytes 0-${MB - 1}/${size}` };
    registry.script(/blobs/, (response) => response.writeHead(206, headers).end(bytes.subarray(0, MB + 1)));
    using here = open();
    await assert.rejects(new Download().run(here, entry), { code: 'FAILED_PRECONDITION', message: /more than/ });
  });

  it('fails as a whole when one range does, after as many tries as any request', async () => {
    const gone: Reply = (response, request, normal) => {
      if (request.headers.range === `bytes=${2 * MB}-${3 * MB - 1}`) refuse(response, 503, 'X', 'broken');
      else normal();
    };
    registry.script(/blobs/, gone, 100);
    using here = open();
    const download = new Download();
    await assert.rejects(download.run(here, entry), { code: 'UNAVAILABLE', message: /503.*broken/ });
    assert.equal(ranges().filter((range) => range?.startsWith(`bytes=${2 * MB}-`)).length, IMPATIENT.retry.attempts);
    download.assertIdle();
  });

  it('stops with the signal and with its consumer', async () => {
    using here = open();
    const cancelled = new Download();
    cancelled.onTake = async () => cancelled.controller.abort();
    await assert.rejects(cancelled.run(here, entry), { code: 'CANCELED' });
    cancelled.assertIdle();
    const full = new Download();
    full.onTake = () => Promise.reject(new TypeError('disk full'));
    await assert.rejects(full.run(here, entry), { name: 'TypeError', message: 'disk full' });
    full.assertIdle();
  });
});
