import { constants } from 'node:os';
import { invalidArgument } from '../../kernel/errors.js';

const LAST_SIGNAL = 64;

/** `SIGTERM`, `term`, `15`: the number of a signal, 1 to 64 (signal(7)). INVALID_ARGUMENT. */
export function parseSignal(text: string): number {
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= LAST_SIGNAL) return number;
    throw invalidArgument(`signal ${text} is out of range`, { remedy: `use 1 to ${LAST_SIGNAL}` });
  }
  const name = text.toUpperCase().replace(/^(SIG)?/, 'SIG');
  const found = Object.entries(constants.signals).find(([known]) => known === name);
  if (!found) throw invalidArgument(`unknown signal "${text}"`, { remedy: 'see signal(7)' });
  return found[1];
}

/** Signals that a foreground command hands on to the process it started. */
export const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/** Hands signals that reach this program on to `deliver`, until the returned function is called. */
export function forwardSignals(deliver: (signal: number) => Promise<void>): () => void {
  const forward = (name: NodeJS.Signals): void => {
    deliver(constants.signals[name]).catch((error: unknown) => {
      process.stderr.write(`${name} was not delivered: ${error instanceof Error ? error.message : String(error)}\n`);
    });
  };
  for (const name of FORWARDED) process.on(name, forward);
  return () => {
    for (const name of FORWARDED) process.off(name, forward);
  };
}
