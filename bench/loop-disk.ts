/** An ext4 filesystem of its own in a file, so that both daemons write to the same kind of disk. */
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { succeed } from '../test/harness/command.js';

export interface LoopDisk extends AsyncDisposable {
  readonly path: string;
}

/** Makes and mounts a sparse ext4 image of `gigabytes`; its file lies in `KEELSON_BENCH_DIR`, default /var/tmp. */
export async function loopDisk(gigabytes = 24): Promise<LoopDisk> {
  const base = await mkdtemp(join(process.env.KEELSON_BENCH_DIR ?? '/var/tmp', 'keelson-bench-'));
  const image = join(base, 'disk.ext4');
  const path = join(base, 'mnt');
  await mkdir(path);
  await writeFile(image, '');
  await truncate(image, gigabytes * 2 ** 30);
  await succeed('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image], { timeout: 120_000 });
  await succeed('mount', ['-o', 'loop', image, path]);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await succeed('umount', [path], { timeout: 120_000 });
      await rm(base, { recursive: true });
    },
  };
}

/** Writes everything out and drops the page cache (proc(5), sys/vm/drop_caches), so that the next run starts cold. */
export async function coldCaches(): Promise<void> {
  await succeed('sync', [], { timeout: 300_000 });
  await writeFile('/proc/sys/vm/drop_caches', '3');
}
