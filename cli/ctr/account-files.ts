/** Reads passwd(5) and group(5) of a container's filesystem, which may be hostile. */
import { fstatSync, readSync } from 'node:fs';
import { failedPrecondition, invalidArgument } from '../../kernel/errors.js';
import {
  AT_FDCWD,
  close,
  ENOENT,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  openat,
  openat2,
  RESOLVE_IN_ROOT,
} from '../../lib/linux/file.js';
import type { AccountFiles } from '../../lib/oci/user.js';

/** More than any real account file; a sparse giant is refused instead of read. */
const MAX_BYTES = 10 * 1024 * 1024;

function readInRoot(root: number, path: string): string {
  // Non-blocking, so that a FIFO in this place cannot make the open wait for a writer.
  const fd = openat2(root, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, RESOLVE_IN_ROOT, [ENOENT]);
  if (fd < 0) return '';
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw failedPrecondition(`the container's "/${path}" is not a regular file`);
    if (stats.size > MAX_BYTES) throw invalidArgument(`the container's "/${path}" is larger than ${MAX_BYTES} bytes`);
    const bytes = Buffer.alloc(stats.size);
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0));
  } finally {
    close(fd);
  }
}

/** Looks inside `root` only, wherever links point; a missing file is empty. */
export function readAccountFiles(root: string): AccountFiles {
  const directory = openat(AT_FDCWD, root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  try {
    return { passwd: readInRoot(directory, 'etc/passwd'), group: readInRoot(directory, 'etc/group') };
  } finally {
    close(directory);
  }
}
