import assert from 'node:assert/strict';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { scratch } from '../../test/harness/scratch.js';
import { holdFifo, makeFifo, makePipe, reopen, unreadBytes } from './fifo.js';
import { lockFile } from './lock.js';
import { IN_CLOSE_WRITE, watchFile } from './notify.js';
import { ProcessHandle } from './pidfd.js';
import { openPin, pin, unpin } from './pin.js';
import { readControlGroups, readStat } from './proc.js';
import { becomeSubreaper, peekZombie, reap, spawn } from './process.js';
import { ConsoleSocket } from './pty.js';

const [major = 0, minor = 0] = release().split('.').map(Number);
const tooOld =
  major > 6 || (major === 6 && minor >= 15) ? false : 'this kernel keeps no exit status of pinned processes';

const nothing = openSync('/dev/null', 'r+');
after(() => closeSync(nothing));

const shell = (script: string, files = [nothing, nothing, nothing]): number =>
  spawn({ path: '/bin/sh', args: ['-c', script], env: { PATH: '/usr/bin:/bin', GREETING: 'hello' }, cwd: '/', files });

const exited = (handle: ProcessHandle): Promise<void> => new Promise((resolve) => handle.onExit(resolve));

describe('processes', () => {
  it('start with exactly the descriptors, environment and directory given', async () => {
    const { read, write } = makePipe();
    const pid = shell('echo $GREETING; pwd; echo /proc/self/fd/*', [nothing, write, nothing]);
    closeSync(write);
    const handle = new ProcessHandle(pid);
    await exited(handle);
    const buffer = Buffer.alloc(1000);
    const text = buffer.toString('utf8', 0, readSync(read, buffer));
    closeSync(read);
    assert.equal(handle.exitStatus()?.exitStatus, 0);
    handle.close();
    assert.match(text, /^hello\n\/\n(\/proc\/self\/fd\/[0-3] ?)+\n$/);
  });

  it('tell how they ended', async () => {
    for (const [script, status] of [
      ['exit 42', 42],
      ['kill -9 $$', 137],
      ['kill -TERM $$', 143],
    ] as const) {
      const handle = new ProcessHandle(shell(script));
      await exited(handle);
      assert.equal(handle.alive(), false);
      assert.equal(handle.exitStatus()?.exitStatus, status);
      handle.close();
    }
    assert.throws(() => spawn({ path: '/no/such', args: [], env: {}, files: [nothing] }), { code: 'NOT_FOUND' });
    assert.throws(() => new ProcessHandle(2 ** 22 + 1));
  });

  it('are signalled by handle, never once they are gone', async () => {
    const handle = new ProcessHandle(shell('sleep 60'));
    assert.equal(handle.alive(), true);
    assert.equal(handle.exitStatus(), undefined);
    assert.throws(() => handle.signal(77), { code: 'INVALID_ARGUMENT' });
    handle.signal(15);
    await exited(handle);
    assert.equal(handle.exitStatus()?.exitStatus, 143);
    assert.throws(() => handle.signal(15), { code: 'NOT_FOUND' });
    handle.close();
  });

  it('are inherited when orphaned, and their status is known before anybody reaps them', async () => {
    becomeSubreaper();
    const { read, write } = makePipe();
    const parent = new ProcessHandle(shell('(exec sleep 60) & echo $!', [nothing, write, nothing]));
    await exited(parent);
    assert.equal(parent.exitStatus()?.exitStatus, 0);
    const buffer = Buffer.alloc(100);
    const orphan = new ProcessHandle(Number(buffer.toString('utf8', 0, readSync(read, buffer))));
    for (const fd of [read, write]) closeSync(fd);
    orphan.signal(9);
    await exited(orphan);
    assert.equal(readStat(orphan.pid)?.state, 'Z');
    assert.equal(peekZombie()?.pid, orphan.pid);
    assert.deepEqual(reap(orphan.pid), { pid: orphan.pid, exitStatus: 137 });
    assert.equal(readStat(orphan.pid), undefined);
    for (const handle of [parent, orphan]) handle.close();
  });

  it('that are pinned tell how they ended once they are reaped and nobody holds them', { skip: tooOld }, async () => {
    await using directory = await scratch('pin');
    const path = join(directory.path, 'pin');
    const handle = new ProcessHandle(shell('exit 38'));
    assert.equal(pin(handle, path), true);
    await exited(handle);
    assert.deepEqual(reap(handle.pid)?.exitStatus, 38);
    handle.close();
    assert.equal(readStat(handle.pid), undefined);
    const pinned = new ProcessHandle(handle.pid, openPin(path));
    await exited(pinned);
    assert.equal(pinned.exitStatus()?.exitStatus, 38);
    pinned.close();
    unpin(path);
    assert.equal(openPin(path), undefined);
    unpin(path);
  });

  it('are found in /proc', () => {
    assert.match(readStat(process.pid)?.startTime ?? '', /^\d+$/);
    assert.ok((readControlGroups(process.pid)?.size ?? 0) > 0);
    assert.equal(readControlGroups(2 ** 22 + 1), undefined);
  });
});

describe('FIFOs', () => {
  it('are held open from both ends without anybody else there', async () => {
    await using directory = await scratch('fifo');
    const path = join(directory.path, 'f');
    makeFifo(path);
    assert.throws(() => makeFifo(path), { code: 'ALREADY_EXISTS' });
    const held = holdFifo(path);
    const writer = reopen(held, constants.O_WRONLY);
    writeSync(writer, 'abc');
    assert.equal(unreadBytes(held), 3);
    for (const fd of [held, writer]) closeSync(fd);
    assert.throws(() => holdFifo('/etc/passwd'), { code: 'INVALID_ARGUMENT' });
  });

  it('tell when a writer has left', async () => {
    await using directory = await scratch('fifo');
    const path = join(directory.path, 'f');
    makeFifo(path);
    const held = holdFifo(path);
    const left = new Promise<void>((resolve) => {
      const watch = watchFile(path, IN_CLOSE_WRITE, () => {
        watch.close();
        resolve();
      });
    });
    closeSync(openSync(path, constants.O_WRONLY));
    const deadline = setTimeout(() => assert.fail('no notice'), 5000);
    await left;
    clearTimeout(deadline);
    closeSync(held);
  });
});

describe('locks', () => {
  it('are exclusive until let go of', async () => {
    await using directory = await scratch('lock');
    const path = join(directory.path, 'lock');
    const release = lockFile(path);
    assert.ok(release);
    assert.equal(lockFile(path), undefined);
    release();
    lockFile(path)?.();
  });
});

describe('console sockets', () => {
  it('refuse a path that does not fit, and give nothing when nothing was sent', async () => {
    await using directory = await scratch('pty');
    assert.throws(() => new ConsoleSocket(join(directory.path, 'x'.repeat(100))), { code: 'INVALID_ARGUMENT' });
    const socket = new ConsoleSocket(join(directory.path, 's'));
    assert.equal(socket.take(), undefined);
    socket.close();
  });
});
