import { canceled } from '../../kernel/errors.js';

/**
 * Runs tasks side by side. The first failure aborts the signal the others
 * received; all have ended when this settles, so nothing goes on behind a failure.
 */
export async function together<T>(
  signal: AbortSignal,
  tasks: readonly ((signal: AbortSignal) => Promise<T>)[],
): Promise<T[]> {
  const controller = new AbortController();
  const either = AbortSignal.any([signal, controller.signal]);
  const failures: unknown[] = [];
  const guarded = tasks.map(async (task) => {
    try {
      return [await task(either)];
    } catch (error) {
      failures.push(error);
      controller.abort(error);
      return [];
    }
  });
  const results = (await Promise.all(guarded)).flat();
  if (failures.length === 0) return results;
  throw signal.aborted ? canceled('the transfer was cancelled', { cause: signal.reason }) : failures[0];
}
