/** The FIFO `log` of a bundle, into which a shim writes what it has to say. */
import { closeSync, readSync } from 'node:fs';
import type { Logger } from 'pino';
import { holdFifo } from '../../lib/linux/fifo.js';
import { watchReadable } from '../../lib/linux/poll.js';

/** Characters of one line that are kept. */
const LINE_LIMIT = 8192;

/**
 * Puts the lines into our log, until closed. The FIFO is held from both ends,
 * so that a shim that writes while no daemon reads does not get EPIPE.
 */
export function readShimLog(path: string, log: Logger): () => void {
  const fd = holdFifo(path);
  let rest = '';
  const buffer = Buffer.alloc(16 << 10);
  const watch = watchReadable(
    fd,
    () => {
      const lines = (rest + buffer.toString('utf8', 0, readSync(fd, buffer))).split('\n');
      rest = (lines.pop() ?? '').slice(0, LINE_LIMIT);
      for (const line of lines) if (line !== '') log.debug({ line: line.slice(0, LINE_LIMIT) }, 'shim');
    },
    true,
  );
  return () => {
    watch.close();
    closeSync(fd);
  };
}
