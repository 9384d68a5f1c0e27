/** The supervisor's log: one JSON object a line on standard error, as the daemon's own. */
import { writeSync } from 'node:fs';

const LEVELS = { info: 30, warn: 40, error: 50 } as const;

/** Never throws: a full disk must not end the supervisor. */
export function log(level: keyof typeof LEVELS, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
  const line = { level: LEVELS[level], time: Date.now(), pid: process.pid, ...fields, msg: message };
  try {
    writeSync(2, `${JSON.stringify(line)}\n`);
  } catch {
    // There is nowhere left to say so.
  }
}

export const logError = (message: string, error: unknown, fields: Readonly<Record<string, unknown>> = {}): void =>
  log('error', message, { ...fields, err: error instanceof Error ? error.stack : String(error) });
