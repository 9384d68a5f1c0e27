/** crun on hosts that it does not run on by itself. */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../lib/errno.js';

const UNIFIED = '/sys/fs/cgroup/unified';

async function controllersOfHybrid(): Promise<string> {
  try {
    return (await readFile(join(UNIFIED, 'cgroup.controllers'), 'utf8')).trim();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

/**
 * The program to run as crun. Where version 2 of control groups has controllers
 * beside version 1, crun refuses to work: there it is a script in `directory`
 * by which crun sees version 1 alone.
 */
export async function crunBinary(directory: string): Promise<string> {
  if ((await controllersOfHybrid()) === '') return 'crun';
  const path = join(directory, 'crun');
  await writeFile(path, `#!/bin/sh\nexec unshare --mount sh -c 'umount ${UNIFIED} && exec crun "$@"' crun "$@"\n`);
  await chmod(path, 0o755);
  return path;
}
