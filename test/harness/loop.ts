/** Filesystems of a chosen kind in a file, mounted for the time of a test. */
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, succeed } from './command.js';
import { scratch } from './scratch.js';

/**
 * Makes a filesystem, `btrfs` say, in a sparse file and mounts it. Disposal unmounts it and removes everything. `megabytes` is its size.
 */
export async function loopFilesystem(
  type: string,
  { megabytes = 512, options = [] }: { readonly megabytes?: number; readonly options?: readonly string[] } = {},
): Promise<AsyncDisposable & { readonly path: string }> {
  const directory = await scratch('loop');
  const image = join(directory.path, 'image');
  const path = join(directory.path, 'mounted');
  try {
    await mkdir(path);
    await writeFile(image, '');
    await truncate(image, megabytes * 1024 * 1024);
    await succeed(`mkfs.${type}`, ['-q', image]);
    await succeed('mount', ['-t', type, '-o', ['loop', ...options].join(','), image, path]);
  } catch (error) {
    await directory[Symbol.asyncDispose]();
    throw error;
  }
  return {
    path,
    async [Symbol.asyncDispose]() {
      await succeed('umount', [path]);
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Why filesystems of that type cannot be made here, or undefined when they can. */
export async function filesystemMissing(type: string): Promise<string | undefined> {
  const { code } = await run('sh', ['-c', `command -v mkfs.${type}`]);
  if (code !== 0) return `mkfs.${type} is not installed`;
  // What is not there may be a module to load.
  const { code: loaded } = await run('sh', ['-c', `modprobe -q ${type} 2>/dev/null`]);
  const known = (await readFile('/proc/filesystems', 'utf8')).split(/\s+/);
  return known.includes(type) || loaded === 0 ? undefined : `this kernel has no ${type}`;
}
