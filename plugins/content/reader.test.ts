import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { it } from 'node:test';
import { coded } from '../../test/harness/metadata.js';
import { LocalReader } from './reader.js';

it('a disk error is loss of that blob, and says which', async () => {
  // Nothing is mapped at address 0: proc_pid_mem(5) answers EIO, as a disk does for a bad sector.
  const fd = openSync('/proc/self/mem', 'r');
  const reader = new LocalReader('sha256:bad', { fd, size: 10, release: () => closeSync(fd) });
  try {
    await assert.rejects(reader.read(Buffer.alloc(10), 0), coded('DATA_LOSS', /"?sha256:bad"?.*EIO/));
  } finally {
    await reader.close();
  }
});
