/** The daemon's log: JSON lines on stderr, or text when a person watches. */
import { fstatSync, writeSync } from 'node:fs';
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

/**
 * Writes to a descriptor at once, so that the last words of a dying daemon are
 * not lost. A daemon must not end because its log cannot be written (a full
 * disk, a reader that has gone): such records are counted, and the count is the
 * first thing written when it works again.
 */
export class LogSink {
  readonly #fd: number;
  readonly #format: (json: string) => string;
  #lost = 0;

  constructor(fd: number, format: (json: string) => string) {
    this.#fd = fd;
    this.#format = format;
  }

  write(json: string): void {
    try {
      if (this.#lost > 0) this.#tellLoss();
      writeSync(this.#fd, this.#format(json));
    } catch {
      this.#lost += 1;
    }
  }

  #tellLoss(): void {
    const msg = `${this.#lost} log records could not be written`;
    writeSync(this.#fd, this.#format(`${JSON.stringify({ level: 'warn', time: new Date().toISOString(), msg })}\n`));
    this.#lost = 0;
  }
}

/** What a terminal is takes Node some parts of itself to tell, which a file or a pipe is spared. */
const isTerminal = (fd: number): boolean => fstatSync(fd).isCharacterDevice() && isatty(fd);

export function openLog(level: string): Logger {
  const sink = new LogSink(STDERR, isTerminal(STDERR) ? humanLine : (json) => json);
  const formatters = { level: (label: string) => ({ level: label }) };
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime, formatters, onChild }, sink);
}

/** The logs of plugins, by plugin: a log that was made from another does not follow when that changes its level. */
const children = new Map<string, Logger>();

function onChild(log: Logger): void {
  const { plugin, ...others } = log.bindings();
  if (typeof plugin === 'string' && Object.keys(others).length === 0) children.set(plugin, log);
}

export function setLevel(log: Logger, level: string): void {
  for (const each of [log, ...children.values()]) each.level = level;
}
