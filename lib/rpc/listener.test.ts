import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { lstat, mkdir, readdir, readlink, rename, symlink, unlink, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { type ErrorCode, hasCode } from '../../kernel/errors.js';
import { type Scratch, scratch } from '../../test/harness/scratch.js';
import { listenOnSocket } from './listener.js';

const OWNER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };

/** Closes connections at once, so that closing a server waits for nobody. */
const server = (): Server => createServer((socket) => socket.destroy());

const bits = async (path: string): Promise<number> => (await lstat(path)).mode & 0o777;

const refuses = (dir: Scratch, path: string, code: ErrorCode, text: RegExp) =>
  assert.rejects(
    listenOnSocket(server(), { path: path.startsWith('/') ? path : join(dir.path, path), ...OWNER }),
    (error) => hasCode(error, code) && text.test(String(error)),
  );

test('the socket is out of reach until its rights are right', async () => {
  await using dir = await scratch('listener');
  const path = join(dir.path, 'run', 'd.sock');
  const acceptor = server();
  const early: { readonly mode: number; readonly isThere: boolean }[] = [];
  acceptor.once('listening', () => {
    const bound = String(acceptor.address());
    assert.notEqual(bound, path);
    early.push({ mode: statSync(dirname(bound)).mode & 0o777, isThere: existsSync(path) });
  });
  const umask = process.umask(0);
  const listener = await listenOnSocket(acceptor, { path, ...OWNER }).finally(() => process.umask(umask));
  assert.deepEqual(early, [{ mode: 0o700, isThere: false }]);
  assert.equal(await bits(path), 0o660);
  assert.equal(await bits(dirname(path)), 0o711);
  assert.deepEqual(await readdir(dirname(path)), ['d.sock']);
  await listener.close();
  await listener.close();
  assert.deepEqual(await readdir(dirname(path)), []);
});

test('a stale socket is replaced, a live one is not', async () => {
  await using dir = await scratch('listener');
  const path = join(dir.path, 'd.sock');
  const first = await listenOnSocket(server(), { path, ...OWNER });
  await refuses(dir, path, 'FAILED_PRECONDITION', /another process serves ".*d\.sock"; stop it/);
  await first.close();

  const left = server();
  await new Promise<void>((resolve) => left.listen(join(dir.path, 'other'), resolve));
  await rename(join(dir.path, 'other'), path);
  await new Promise((resolve) => left.close(resolve));
  assert.equal((await lstat(path)).isSocket(), true);

  const second = await listenOnSocket(server(), { path, ...OWNER });
  const probe = connect(path);
  await new Promise((resolve, reject) => probe.once('connect', resolve).once('error', reject));
  probe.destroy();
  await second.close();
  assert.deepEqual(await readdir(dir.path), []);
});

test('a socket that another has taken over is left alone', async () => {
  await using dir = await scratch('listener');
  const path = join(dir.path, 'd.sock');
  const first = await listenOnSocket(server(), { path, ...OWNER });
  await unlink(path);
  const second = await listenOnSocket(server(), { path, ...OWNER });
  await first.close();
  assert.deepEqual(await readdir(dir.path), ['d.sock']);
  await second.close();
});

test('what is not a socket stays, whatever it is', async () => {
  await using dir = await scratch('listener');
  await writeFile(join(dir.path, 'file'), 'kept');
  await mkdir(join(dir.path, 'directory'));
  await symlink('/nowhere', join(dir.path, 'link'));
  await refuses(dir, 'file', 'FAILED_PRECONDITION', /is taken by something that is not a socket/);
  await refuses(dir, 'directory', 'FAILED_PRECONDITION', /is taken by something that is not a socket/);
  await refuses(dir, 'link', 'FAILED_PRECONDITION', /is a symbolic link/);
  assert.equal(await readlink(join(dir.path, 'link')), '/nowhere');
  assert.deepEqual((await readdir(dir.path)).sort(), ['directory', 'file', 'link']);
});

test('an address must be absolute and short enough for the kernel', async () => {
  await using dir = await scratch('listener');
  await assert.rejects(listenOnSocket(server(), { path: 'd.sock', ...OWNER }), (error) =>
    hasCode(error, 'INVALID_ARGUMENT'),
  );
  await refuses(dir, 'x'.repeat(108), 'INVALID_ARGUMENT', /more than 107; choose a shorter path/);
  assert.deepEqual(await readdir(dir.path), []);
});

test('a directory that cannot be made is named', async () => {
  await using dir = await scratch('listener');
  await writeFile(join(dir.path, 'file'), '');
  await refuses(dir, 'file/d.sock', 'ALREADY_EXISTS', /making the socket ".*file\/d\.sock": mkdir: EEXIST/);
});
