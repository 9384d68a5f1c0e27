/** Runtimes that are restarted while somebody waits for one of their processes. */
import type { Runtime } from '../../kernel/contracts/runtime.js';
import type { LiveMap } from '../../kernel/plugin.js';

/** Milliseconds that a runtime may take to come back. */
const PATIENCE = 15_000;

/** Resolves to true when a runtime has come in the place of the one that is gone, to false when none does in time. */
export async function isBack(
  runtimes: LiveMap<Runtime>,
  id: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (signal?.aborted) return false;
  if (runtimes.has(id)) return true;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const giveUp = (): void => resolve(false);
  const timer = setTimeout(giveUp, PATIENCE);
  const unwatch = runtimes.watch({ added: (added) => added === id && resolve(true), removed: () => {} });
  signal?.addEventListener('abort', giveUp, { once: true });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    unwatch();
    signal?.removeEventListener('abort', giveUp);
  }
}
