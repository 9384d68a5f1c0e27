/** Tries again what may go better the next time: exponential backoff with jitter, or as long as the server asks. */
import { setTimeout as delay } from 'node:timers/promises';
import { canceled } from '../../../kernel/errors.js';
import { RegistryFailure } from './failure.js';

export interface RetryPolicy {
  /** Tries in a row without any progress. */
  readonly attempts: number;
  /** Milliseconds before the second try; doubled for each one after. */
  readonly firstDelay: number;
  /** Milliseconds; no backoff is longer, and a server that asks for more is given up on. */
  readonly longestDelay: number;
}

/** Between half of the full delay and all of it, so that clients thrown out together do not come back together. */
const backoff = (policy: RetryPolicy, failures: number): number =>
  Math.min(policy.firstDelay * 2 ** (failures - 1), policy.longestDelay) * (0.5 + Math.random() / 2);

export interface Attempt {
  /** Tells that this attempt got somewhere: earlier failures no longer count. */
  progressed(): void;
}

function waitFor(policy: RetryPolicy, failure: RegistryFailure, failures: number): number | undefined {
  if (failure.retry.kind === 'never' || failures >= policy.attempts) return undefined;
  const asked = failure.retry.after;
  if (asked === undefined) return backoff(policy, failures);
  return asked > policy.longestDelay ? undefined : Math.max(asked, backoff(policy, failures));
}

/** Runs `attempt` until it succeeds or fails for good; CANCELED when the signal aborts meanwhile. */
export async function retrying<T>(
  policy: RetryPolicy,
  signal: AbortSignal,
  attempt: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  let failures = 0;
  const progressed = () => {
    failures = 0;
  };
  for (;;) {
    if (signal.aborted) throw canceled('the transfer was cancelled', { cause: signal.reason });
    try {
      return await attempt({ progressed });
    } catch (error) {
      if (!(error instanceof RegistryFailure)) throw error;
      failures++;
      const wait = waitFor(policy, error, failures);
      if (wait === undefined) throw error;
      await pause(wait, signal);
    }
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(milliseconds, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw canceled('the transfer was cancelled while waiting to try again', { cause: signal.reason });
  }
}
