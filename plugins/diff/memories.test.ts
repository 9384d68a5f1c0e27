/** The memory of layers under way is bounded, handed on in order, and used again. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Memories } from './memories.js';

it('lends no more than there may be; who waits gets what is given back, in order', async () => {
  const memories = new Memories(2);
  const [first, second] = [await memories.take(), await memories.take()];
  const got: string[] = [];
  const take = async (name: string, signal?: AbortSignal): Promise<SharedArrayBuffer> => {
    const memory = await memories.take(signal);
    got.push(name);
    return memory;
  };
  const leaving = new AbortController();
  const third = take('third');
  const left = take('left', leaving.signal);
  const fourth = take('fourth');
  leaving.abort();
  await assert.rejects(left, { code: 'CANCELED' });
  assert.deepEqual(got, []);
  memories.give(second);
  assert.equal(await third, second);
  memories.give(first);
  assert.equal(await fourth, first);
  assert.deepEqual(got, ['third', 'fourth']);
  await assert.rejects(memories.take(AbortSignal.abort()), { code: 'CANCELED' });
});

it('uses again what was given back, until it is told that nobody came', async () => {
  const memories = new Memories(2);
  const first = await memories.take();
  memories.give(first);
  assert.equal(await memories.take(), first);
  memories.give(first);
  memories.tidy();
  assert.notEqual(await memories.take(), first);
});
