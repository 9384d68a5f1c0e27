/** The daemon's log: JSON lines on stderr, or text when a person watches. */
import { isatty } from 'node:tty';
import { type Logger, pino, stdTimeFunctions } from 'pino';

const STDERR = 2;

const HIDDEN = new Set(['level', 'time', 'msg', 'pid', 'hostname', 'err']);

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** One record as a line for people: time, level, message, then what else is known. */
export function humanLine(json: string): string {
  const record: unknown = JSON.parse(json);
  if (!isRecord(record)) return json;
  const facts = Object.entries(record)
    .filter(([key]) => !HIDDEN.has(key))
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const stack = isRecord(record.err) && typeof record.err.stack === 'string' ? `\n${record.err.stack}` : '';
  const time = String(record.time).slice(11, 23);
  return `${time} ${String(record.level).toUpperCase().padEnd(5)} ${[record.msg, ...facts].join('  ')}${stack}\n`;
}

/** Written synchronously, so that the last words of a dying daemon are not lost. */
export function openLog(level: string): Logger {
  const sink = pino.destination({ dest: STDERR, sync: true });
  const stream = isatty(STDERR) ? { write: (json: string) => sink.write(humanLine(json)) } : sink;
  const formatters = { level: (label: string) => ({ level: label }) };
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime, formatters }, stream);
}
