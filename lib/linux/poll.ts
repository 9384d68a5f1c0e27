/** Waiting for descriptors that Node has no object for: poll(2), inside the event loop. */
import { check, koffi, libc } from './libc.js';

const POLLIN = 1;

const sysPoll = libc.func('poll', 'int', ['void *', 'ulong', 'int']);

export interface Watch {
  /** Ends the watch, without closing the descriptor. Idempotent. */
  close(): void;
}

/**
 * Calls `listener` whenever the descriptor is readable, until closed; level
 * triggered. The watch keeps the process alive unless `background`.
 */
export function watchReadable(fd: number, listener: () => void, background = false): Watch {
  return startWatch(fd, { readable: true }, listener, background);
}

/** As {@link watchReadable}, for room to write. */
export function watchWritable(fd: number, listener: () => void): Watch {
  return startWatch(fd, { writable: true }, listener, false);
}

function startWatch(
  fd: number,
  events: { readable?: boolean; writable?: boolean },
  listener: () => void,
  background: boolean,
): Watch {
  let open = true;
  // koffi calls from outside of Node's callback scope, where promises would not be
  // continued; an immediate runs inside it, still before the descriptor is polled again.
  const handle = koffi.node.poll(fd, events, () =>
    setImmediate(() => {
      if (open) listener();
    }),
  );
  if (background) handle.unref();
  return {
    close() {
      if (open) handle.close();
      open = false;
    },
  };
}

/** True when reading would not block: there is data, the end, or an event. */
export function isReadable(fd: number): boolean {
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd);
  request.writeInt16LE(POLLIN, 4);
  return check(sysPoll(request, 1, 0), 'poll', String(fd)) > 0;
}
