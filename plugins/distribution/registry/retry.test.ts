import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LATER, NEVER, RegistryFailure, type Retry, retryAfter } from './failure.js';
import { retrying } from './retry.js';

const policy = { attempts: 5, firstDelay: 4, longestDelay: 200 };
const signal = new AbortController().signal;
const failing = (retry: Retry) => new RegistryFailure('UNAVAILABLE', 'no', { retry });

describe('retries', () => {
  it('stop after five tries', async () => {
    let tries = 0;
    const trying = retrying(policy, signal, async () => {
      tries++;
      throw failing(LATER);
    });
    await assert.rejects(trying, { code: 'UNAVAILABLE' });
    assert.equal(tries, 5);
  });

  it('do not happen where they make no sense', async () => {
    for (const error of [failing(NEVER), new TypeError('x')]) {
      let tries = 0;
      await assert.rejects(
        retrying(policy, signal, async () => {
          tries++;
          throw error;
        }),
      );
      assert.equal(tries, 1);
    }
  });

  it('count anew after progress', async () => {
    let tries = 0;
    const result = await retrying(policy, signal, async ({ progressed }) => {
      tries++;
      progressed();
      if (tries < 20) throw failing(LATER);
      return 'done';
    });
    assert.equal(result, 'done');
  });

  it('wait at least as long as the server asks, and give up when it asks too much', async () => {
    let tries = 0;
    const started = performance.now();
    await retrying(policy, signal, async () => {
      if (++tries === 1) throw failing({ kind: 'later', after: 150 });
    });
    assert.ok(performance.now() - started >= 149);
    await assert.rejects(
      retrying(policy, signal, async () => {
        throw failing({ kind: 'later', after: 201 });
      }),
    );
  });

  it('end with the signal', async () => {
    const controller = new AbortController();
    const trying = retrying({ ...policy, firstDelay: 60_000, longestDelay: 60_000 }, controller.signal, async () => {
      setImmediate(() => controller.abort());
      throw failing(LATER);
    });
    await assert.rejects(trying, { code: 'CANCELED' });
  });

  it('read Retry-After in both forms', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    assert.equal(retryAfter({ 'retry-after': '2' }, now), 2000);
    assert.equal(retryAfter({ 'retry-after': 'Thu, 01 Jan 2026 00:00:03 GMT' }, now), 3000);
    assert.equal(retryAfter({ 'retry-after': 'Thu, 01 Jan 2020 00:00:03 GMT' }, now), 0);
    assert.equal(retryAfter({ 'retry-after': 'soon' }, now), undefined);
    assert.equal(retryAfter({}, now), undefined);
  });
});
