/** Moments as text (https://www.rfc-editor.org/rfc/rfc3339), to the nanosecond. */

const PATTERN = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** Nanoseconds since the Unix epoch, or undefined when it is no such text. */
export function parseRfc3339(text: string): bigint | undefined {
  const [, date, time, fraction = '', zone] = PATTERN.exec(text) ?? [];
  const millis = Date.parse(`${date}T${time}${zone}`);
  if (Number.isNaN(millis)) return undefined;
  return BigInt(millis) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}
