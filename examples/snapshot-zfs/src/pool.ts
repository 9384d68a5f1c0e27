/** A pool in a file, for tests; and the daemon of zfs-fuse where the kernel has no ZFS. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { zfsMissing, zpool } from './zfs.js';

/** Starts zfs-fuse unless ZFS answers already. Disposal stops it. */
export async function startZfs(): Promise<AsyncDisposable> {
  if ((await zfsMissing()) === undefined) return { async [Symbol.asyncDispose]() {} };
  // Where it keeps its socket and its lock; a machine without an init system may have neither.
  for (const directory of ['/run/zfs', '/run/lock']) await mkdir(directory, { recursive: true });
  const options = ['--no-daemon', '--no-kstat-mount', '--enable-xattr', '--max-arc-size', '64'];
  const child = spawn('/usr/sbin/zfs-fuse', options, { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended;
  };
  for (let tries = 0; (await zfsMissing()) !== undefined; tries += 1) {
    if (tries === 200 || child.exitCode !== null) {
      await stop();
      throw new Error('zfs-fuse does not answer');
    }
    await delay(25);
  }
  return { [Symbol.asyncDispose]: stop };
}

let made = 0;

export interface Pool extends AsyncDisposable {
  readonly name: string;
}

/** Makes a pool of that many megabytes in a file of the directory. Disposal destroys it. */
export async function filePool(directory: string, megabytes = 1024): Promise<Pool> {
  const name = `keelson-test-${process.pid}-${made++}`;
  const file = join(directory, `${name}.vdev`);
  await writeFile(file, '');
  await truncate(file, megabytes * 1024 * 1024);
  await zpool('create', '-m', 'none', '-o', 'cachefile=none', name, file);
  return {
    name,
    async [Symbol.asyncDispose]() {
      await zpool('destroy', '-f', name);
    },
  };
}
