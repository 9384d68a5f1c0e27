/** Quoted strings of the filter grammar: Go's escapes between `"`, or between `/` or `|` for regular expressions. */

const SIMPLE: Readonly<Record<string, number>> = {
  a: 0x07,
  b: 0x08,
  f: 0x0c,
  n: 0x0a,
  r: 0x0d,
  t: 0x09,
  v: 0x0b,
  '\\': 0x5c,
};

/** Digits that follow the letter of a numeric escape. */
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

const MAX_CODE_POINT = 0x10ffff;

const isSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdfff;

interface Escape {
  readonly bytes: Uint8Array;
  /** Index after the escape. */
  readonly next: number;
}

function numeric(text: string, from: number, digits: number, base: 8 | 16): number | undefined {
  const part = text.slice(from, from + digits);
  const legal = base === 8 ? /^[0-7]+$/ : /^[0-9a-fA-F]+$/;
  return part.length === digits && legal.test(part) ? Number.parseInt(part, base) : undefined;
}

/** Decodes the escape whose backslash is at `at`; undefined when it is illegal. */
function decodeEscape(text: string, at: number, quote: string): Escape | undefined {
  const letter = text.charAt(at + 1);
  const simple = letter === quote ? letter.charCodeAt(0) : SIMPLE[letter];
  if (simple !== undefined) return { bytes: Uint8Array.of(simple), next: at + 2 };
  if (letter >= '0' && letter <= '7') {
    const value = numeric(text, at + 1, 3, 8);
    return value === undefined || value > 0xff ? undefined : { bytes: Uint8Array.of(value), next: at + 4 };
  }
  const digits = HEX_DIGITS[letter];
  if (digits === undefined) return undefined;
  const value = numeric(text, at + 2, digits, 16);
  if (value === undefined || value > MAX_CODE_POINT) return undefined;
  const next = at + 2 + digits;
  if (letter === 'x') return { bytes: Uint8Array.of(value), next };
  return { bytes: Buffer.from(isSurrogate(value) ? '\ufffd' : String.fromCodePoint(value)), next };
}

export interface Quoted {
  readonly value: string;
  /** Index after the closing quote. */
  readonly next: number;
}

/**
 * Reads the quoted string that opens at `start`. Returns a sentence instead
 * when it is not closed on its line or holds an illegal escape.
 */
export function readQuoted(text: string, start: number): Quoted | string {
  const quote = text.charAt(start);
  const parts: Uint8Array[] = [];
  let plain = start + 1;
  let at = plain;
  const flush = (): void => {
    if (at > plain) parts.push(Buffer.from(text.slice(plain, at)));
  };
  while (at < text.length && text[at] !== '\n') {
    if (text[at] === quote) {
      flush();
      return { value: Buffer.concat(parts).toString(), next: at + 1 };
    }
    if (text[at] !== '\\') {
      at += 1;
      continue;
    }
    const decoded = decodeEscape(text, at, quote);
    if (!decoded) return `illegal escape sequence "${text.slice(at, at + 2)}"`;
    flush();
    parts.push(decoded.bytes);
    at = decoded.next;
    plain = at;
  }
  return 'quoted literal not terminated';
}
