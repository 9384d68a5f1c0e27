/** Notices from the kernel: inotify(7), eventfd(2). */
import { closeSync, readSync } from 'node:fs';
import { check, libc } from './libc.js';
import { type Watch, watchReadable } from './poll.js';

const NONBLOCK_CLOEXEC = 0o2004000;

/** inotify(7): the file was changed. */
export const IN_MODIFY = 0x2;
/** inotify(7): somebody who had it open for writing closed it. */
export const IN_CLOSE_WRITE = 0x8;

const inotifyInit = libc.func('inotify_init1', 'int', ['int']);
const inotifyAdd = libc.func('inotify_add_watch', 'int', ['int', 'str', 'uint']);
const sysEventfd = libc.func('eventfd', 'int', ['uint', 'int']);

/** Empties a descriptor of notices, so that it stops being readable. */
function drain(fd: number): void {
  readSync(fd, Buffer.alloc(4096));
}

function notices(fd: number, listener: () => void): Watch {
  const watch = watchReadable(
    fd,
    () => {
      drain(fd);
      listener();
    },
    true,
  );
  let open = true;
  return {
    close() {
      if (!open) return;
      open = false;
      watch.close();
      closeSync(fd);
    },
  };
}

/** Calls `listener` when one of `events` happens to the file; several may be told as one. Does not keep us alive. */
export function watchFile(path: string, events: number, listener: () => void): Watch {
  const fd = check(inotifyInit(NONBLOCK_CLOEXEC), 'inotify_init', path);
  try {
    check(inotifyAdd(fd, path, events), 'inotify_add_watch', path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return notices(fd, listener);
}

/** A counter the kernel raises: its descriptor to register somewhere, and a watch on it. Does not keep us alive. */
export function watchEventfd(listener: () => void): Watch & { readonly fd: number } {
  const fd = check(sysEventfd(0, NONBLOCK_CLOEXEC), 'eventfd', '');
  return { fd, ...notices(fd, listener) };
}
