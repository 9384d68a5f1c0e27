import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DatagramSocket } from '../../test/harness/datagram.js';
import { scratch } from '../../test/harness/scratch.js';
import { notifySystemd } from './systemd.js';

describe('sd_notify', () => {
  it('sends datagrams to a path and to an abstract name', async () => {
    await using directory = await scratch('notify');
    for (const address of [join(directory.path, 'notify.sock'), `@keelson-test-${process.pid}`]) {
      using socket = new DatagramSocket(address);
      notifySystemd(address, 'READY=1');
      notifySystemd(address, 'STOPPING=1');
      assert.deepEqual([socket.receive(), socket.receive(), socket.receive()], ['READY=1', 'STOPPING=1', undefined]);
    }
  });

  it('says which socket was not there', async () => {
    await using directory = await scratch('notify');
    const path = join(directory.path, 'gone.sock');
    assert.throws(() => notifySystemd(path, 'READY=1'), { message: `notify "${path}": ENOENT`, code: 'NOT_FOUND' });
    rmSync(path, { force: true });
  });
});
