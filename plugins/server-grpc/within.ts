import { setTimeout as sleep } from 'node:timers/promises';

/** True when `done` came first, false after so many milliseconds. Rejects as `done` does. */
export async function within(done: Promise<unknown>, millis: number): Promise<boolean> {
  const timer = new AbortController();
  const late = sleep(millis, false, { signal: timer.signal, ref: false }).catch(() => false);
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    timer.abort();
  }
}
