/** Attributes of files that Node's fs cannot set. */
import { AT_FDCWD, close, futimens, O_RDONLY, openat, type Timespec } from '../../lib/linux/file.js';
import { fsetxattr } from '../../lib/linux/xattr.js';

export interface OpenFile {
  setAttribute(name: string, value: string | Uint8Array): void;
  setTimes(time: Timespec): void;
}

/** Calls `work` with the file or directory opened. */
export function withFile(path: string, work: (file: OpenFile) => void): void {
  const fd = openat(AT_FDCWD, path, O_RDONLY);
  try {
    work({
      setAttribute: (name, value) => void fsetxattr(fd, name, Buffer.from(value)),
      setTimes: (time) => futimens(fd, time, time),
    });
  } finally {
    close(fd);
  }
}
