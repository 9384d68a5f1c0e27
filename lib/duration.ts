/** Durations as Go writes them: `1h30m`, `100ms`, `1.5s`, `0`. */

const MILLIS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  // Micro sign, and the Greek letter.
  '\u00b5s': 1e-3,
  '\u03bcs': 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

const WHOLE = /^[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$/u;
const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/gu;

/** Milliseconds, or undefined when it is no such text. */
export function parseDuration(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  if (!WHOLE.test(text)) return undefined;
  const parts = [...text.matchAll(PART)];
  const millis = parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (MILLIS[unit] ?? 0), 0);
  return text.startsWith('-') ? -millis : millis;
}
