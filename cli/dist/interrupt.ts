/** Ends a command the way its user asked for. */
import { constants } from 'node:os';

/** Runs work whose signal aborts at SIGINT and SIGTERM; the exit code then is 128 and the signal's number. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (name: 'SIGINT' | 'SIGTERM') => () => {
    process.exitCode = 128 + constants.signals[name];
    controller.abort();
  };
  const handlers = [
    ['SIGINT', stop('SIGINT')],
    ['SIGTERM', stop('SIGTERM')],
  ] as const;
  for (const [name, handler] of handlers) process.once(name, handler);
  try {
    return await work(controller.signal);
  } finally {
    for (const [name, handler] of handlers) process.off(name, handler);
  }
}
