import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { scratch } from '../../test/harness/scratch.js';
import * as file from './file.js';
import { SystemError } from './libc.js';
import { fstat, lstatat, readDirectory, S_IFCHR, S_IFMT, S_IFREG } from './stat.js';
import * as xattr from './xattr.js';

const { AT_FDCWD, O_DIRECTORY, O_RDONLY, O_WRONLY, O_CREAT, O_EXCL } = file;

test('names are bytes: two that differ only in an invalid byte are two files', async () => {
  await using dir = await scratch('file');
  const fd = file.openat(AT_FDCWD, dir.path, O_RDONLY | O_DIRECTORY);
  const names = [Buffer.from([0x61, 0xff, 0]), Buffer.from([0x61, 0xfe, 0])];
  for (const name of names) file.close(file.openat(fd, name, O_WRONLY | O_CREAT | O_EXCL, 0o640));
  const listed = readDirectory(fd).map(({ name }) => name);
  file.close(fd);
  assert.deepEqual(listed.sort(), ['a\xfe', 'a\xff']);
});

test('openat2 never leaves the root it is given', async () => {
  await using dir = await scratch('file');
  const top = file.openat(AT_FDCWD, dir.path, O_RDONLY | O_DIRECTORY);
  file.mkdirat(top, 'root', 0o755);
  file.mkdirat(top, 'outside', 0o755);
  const root = file.openat(top, 'root', O_RDONLY | O_DIRECTORY);
  file.symlinkat('../outside', root, 'link');
  assert.throws(
    () => file.openat2(root, 'link', O_RDONLY, file.RESOLVE_BENEATH),
    (error) => error instanceof SystemError && error.errno === 'EXDEV',
  );
  const refused = file.openat2(root, 'link', O_RDONLY, file.RESOLVE_BENEATH | file.RESOLVE_NO_SYMLINKS, [file.ELOOP]);
  assert.equal(refused, -file.ELOOP);
  assert.equal(file.openat2(root, 'link', O_RDONLY, file.RESOLVE_IN_ROOT, [file.ENOENT]), -file.ENOENT);
  for (const fd of [root, top]) file.close(fd);
});

test('bytes, attributes and times arrive exactly', async () => {
  await using dir = await scratch('file');
  const top = file.openat(AT_FDCWD, dir.path, O_RDONLY | O_DIRECTORY);
  const fd = file.openat(top, 'f', O_WRONLY | O_CREAT, 0o600);
  const data = Buffer.from('hello world');
  file.writeAll(fd, file.addressOf(data) + 6, 5);
  file.fchmod(fd, 0o4755);
  file.futimens(fd, { seconds: 5, nanos: 7 }, { seconds: 2 ** 33 + 1, nanos: 999_999_999 });
  const stat = fstat(fd);
  file.close(fd);
  assert.equal(readFileSync(`${dir.path}/f`, 'utf8'), 'world');
  assert.equal(stat.mode, S_IFREG | 0o4755);
  assert.deepEqual(stat.mtime, { seconds: 2 ** 33 + 1, nanos: 999_999_999 });
  assert.equal(stat.inode, statSync(`${dir.path}/f`, { bigint: true }).ino);
  file.mknodat(top, 'null', S_IFCHR | 0o666, file.makedev(0x123, 0x45678));
  const device = lstatat(top, 'null');
  assert.deepEqual([(device?.mode ?? 0) & S_IFMT, device?.deviceMajor, device?.deviceMinor], [S_IFCHR, 0x123, 0x45678]);
  file.symlinkat(Buffer.from('t\xff\0', 'latin1'), top, 'l');
  assert.equal(file.readlinkat(top, 'l')?.toString('latin1'), 't\xff');
  assert.equal(lstatat(top, 'absent', [file.ENOENT]), undefined);
  file.close(top);
});

test('extended attributes: of a file, of a link itself, absent', async () => {
  await using dir = await scratch('file');
  const top = file.openat(AT_FDCWD, dir.path, O_RDONLY | O_DIRECTORY);
  const fd = file.openat(top, 'f', O_WRONLY | O_CREAT, 0o600);
  file.symlinkat('/etc/passwd', top, 'l');
  xattr.fsetxattr(fd, 'trusted.one', Buffer.from([0, 255]));
  xattr.setxattrAt(top, 'l', 'trusted.two', Buffer.from('x'));
  assert.deepEqual(xattr.fgetxattr(fd, 'trusted.one'), Buffer.from([0, 255]));
  assert.equal(xattr.fgetxattr(fd, 'trusted.two'), undefined);
  assert.deepEqual(xattr.listxattrAt(top, 'l'), ['trusted.two']);
  assert.deepEqual(xattr.getxattrAt(top, 'l', 'trusted.two'), Buffer.from('x'));
  xattr.fremovexattr(fd, 'trusted.one');
  assert.deepEqual(xattr.flistxattr(fd), []);
  for (const open of [fd, top]) file.close(open);
});

test('a path with a NUL inside, or bytes that do not end in one, never reach the C library', () => {
  assert.throws(() => file.openat(AT_FDCWD, 'a\0b', O_RDONLY), TypeError);
  assert.throws(() => file.openat(AT_FDCWD, Buffer.from('abc'), O_RDONLY), TypeError);
});

test('a worker thread has a umask of its own', async () => {
  const before = process.umask();
  const module = JSON.stringify(new URL('./file.js', import.meta.url).href);
  const program = `import { parentPort } from 'node:worker_threads';
    const { setThreadUmask } = await import(${module});
    parentPort.postMessage(setThreadUmask(0o777));`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
  const former = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  assert.equal(former, before);
  assert.equal(process.umask(), before);
});
