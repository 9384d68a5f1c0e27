import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { detachOn, parseKeys } from './detach-keys.js';

async function typed(chunks: readonly string[]): Promise<{ passed: string; detached: boolean }> {
  let detached = false;
  const filter = detachOn(parseKeys('ctrl-p,ctrl-q'), () => {
    detached = true;
  });
  for (const chunk of chunks) if (!filter.writableEnded) filter.write(chunk);
  if (!filter.writableEnded) filter.end();
  const passed: Buffer[] = [];
  for await (const chunk of filter) passed.push(chunk);
  return { passed: Buffer.concat(passed).toString(), detached };
}

describe('detach keys', () => {
  it('are read as control bytes and plain characters', () => {
    assert.deepEqual([...parseKeys('ctrl-p,ctrl-q,x')], [16, 17, 120]);
    for (const text of ['ctrl-', 'ab', '', 'ctrl-1'])
      assert.throws(() => parseKeys(text), { code: 'INVALID_ARGUMENT' });
  });

  it('detach also when they arrive one by one', async () => {
    assert.deepEqual(await typed(['ls\n\x10', '\x11', 'rest']), { passed: 'ls\n', detached: true });
  });

  it('are passed on when the sequence breaks off', async () => {
    assert.deepEqual(await typed(['\x10a', '\x10\x10\x11']), { passed: '\x10a\x10', detached: true });
    assert.deepEqual(await typed(['a\x10']), { passed: 'a\x10', detached: false });
  });
});
