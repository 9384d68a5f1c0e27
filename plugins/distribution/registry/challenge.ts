/**
 * The WWW-Authenticate header (RFC 9110, 11.6.1), parsed in linear time. What
 * is malformed is left out: a server that cannot say what it wants gets nothing.
 */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** By lower-case name; the first of equal names counts. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** RFC 9110, 5.6.2. */
const isTokenChar = (char: string): boolean => /^[!#$%&'*+.^_`|~0-9A-Za-z-]$/.test(char);

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at >= this.#text.length;
  }

  get next(): string {
    return this.#text.charAt(this.#at);
  }

  /** Skips one character. */
  skip(): void {
    this.#at++;
  }

  #while(accepts: (char: string) => boolean): string {
    const start = this.#at;
    while (!this.done && accepts(this.next)) this.#at++;
    return this.#text.slice(start, this.#at);
  }

  skipAny(chars: string): void {
    this.#while((char) => chars.includes(char));
  }

  token(): string {
    return this.#while(isTokenChar);
  }

  /** The rest of the base64-like credentials some schemes put in place of parameters. */
  skipToken68(): void {
    this.#while((char) => isTokenChar(char) || char === '/' || char === '=');
  }

  /** A quoted string or a token; undefined when the quote never ends. */
  value(): string | undefined {
    if (this.next !== '"') return this.token();
    this.skip();
    let value = '';
    while (!this.done && this.next !== '"') {
      if (this.next === '\\') this.skip();
      value += this.next;
      this.skip();
    }
    if (this.done) return undefined;
    this.skip();
    return value;
  }
}

/** Every challenge of all header lines, in order. */
export function parseChallenges(lines: readonly string[]): readonly Challenge[] {
  return lines.flatMap(parseLine);
}

function parseLine(line: string): Challenge[] {
  const scanner = new Scanner(line);
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  while (!scanner.done) {
    scanner.skipAny(' \t,');
    const word = scanner.token();
    if (word === '') return challenges;
    scanner.skipAny(' \t');
    if (scanner.next !== '=') {
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
      continue;
    }
    scanner.skip();
    scanner.skipAny(' \t');
    const value = scanner.value();
    if (value === undefined) return challenges;
    const parameters = challenges.at(-1)?.parameters;
    const name = word.toLowerCase();
    if (parameters && !parameters.has(name)) parameters.set(name, value);
    scanner.skipToken68();
  }
  return challenges;
}
