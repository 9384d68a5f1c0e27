/**
 * The grammar of filters, as containerd's clients write them:
 *
 *     selectors := selector ("," selector)*
 *     selector  := fieldpath [operator value]
 *     fieldpath := field ("." field)*
 *     field     := quoted | [A-Za-z0-9_]+
 *     operator  := "==" | "!=" | "~="
 *     value     := quoted | run of characters without space and comma
 *     quoted    := "..." with Go's escapes; after "~=" also /.../ and |...|
 *
 * Space is allowed before a field, an operator and a value, nowhere else.
 */
import { invalidArgument, type KeelsonError } from '../../kernel/errors.js';
import { readQuoted } from './quoted.js';

export type Operator = 'present' | '==' | '!=' | '~=';

export interface Selector {
  readonly path: readonly string[];
  readonly operator: Operator;
  /** Empty for `present`. */
  readonly value: string;
}

const FIELD = /[A-Za-z0-9_]+/y;
const OPERATOR = /[=!~]+/y;
const QUOTES = '"/|';

/** Characters of the grammar that have no name in ASCII's terms: Unicode's white space, letters, marks, numbers, signs. */
interface Characters {
  readonly space: RegExp;
  readonly value: RegExp;
}

const ASCII: Characters = { space: /[\t-\r ]*/y, value: /[!-+\--~]+/y };

/** Made for the first text that needs it: V8 takes milliseconds over Unicode's classes. */
class Unicode implements Characters {
  static #known: Unicode | undefined;
  readonly space = /\p{White_Space}*/uy;
  readonly value = /(?:(?!,)[\p{L}\p{M}\p{N}\p{P}\p{S}])+/uy;

  static get characters(): Characters {
    Unicode.#known ??= new Unicode();
    return Unicode.#known;
  }
}

const charactersOf = (text: string): Characters =>
  Buffer.byteLength(text) === text.length ? ASCII : Unicode.characters;

class Parser {
  readonly #text: string;
  readonly #characters: Characters;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#characters = charactersOf(text);
  }

  selectors(): Selector[] {
    const selectors = [this.#selector()];
    while (this.#at < this.#text.length) {
      if (this.#peek() !== ',') throw this.#error('unexpected input');
      this.#at += 1;
      selectors.push(this.#selector());
    }
    return selectors;
  }

  #selector(): Selector {
    const path = [this.#field()];
    while (this.#peek() === '.') {
      this.#at += 1;
      path.push(this.#field());
    }
    if (this.#at === this.#text.length || this.#peek() === ',') return { path, operator: 'present', value: '' };
    const operator = this.#operator();
    return { path, operator, value: this.#value(operator) };
  }

  #field(): string {
    this.#take(this.#characters.space);
    if (this.#atQuote()) return this.#quoted(false);
    const name = this.#take(FIELD);
    if (name === '') throw this.#error('expected a field');
    return name;
  }

  #operator(): Operator {
    this.#take(this.#characters.space);
    const start = this.#at;
    const operator = this.#take(OPERATOR);
    if (operator === '==' || operator === '!=' || operator === '~=') return operator;
    this.#at = start;
    throw this.#error('expected an operator ("==", "!=" or "~=")');
  }

  #value(operator: Operator): string {
    this.#take(this.#characters.space);
    if (this.#atQuote()) return this.#quoted(operator === '~=');
    if (/[.=!~]/.test(this.#peek())) throw this.#error('expected a value; quote it if it starts like this');
    const value = this.#take(this.#characters.value);
    if (value === '') throw this.#error('expected a value');
    return value;
  }

  #quoted(regexp: boolean): string {
    if (!regexp && this.#peek() !== '"') throw this.#error('only double quotes are allowed here');
    const quoted = readQuoted(this.#text, this.#at);
    if (typeof quoted === 'string') throw this.#error(quoted);
    this.#at = quoted.next;
    return quoted.value;
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #atQuote(): boolean {
    return this.#peek() !== '' && QUOTES.includes(this.#peek());
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #error(problem: string): KeelsonError {
    const from = Math.max(0, this.#at - 40);
    const shown = `${this.#text.slice(from, this.#at)}>|${this.#text.slice(this.#at, this.#at + 40)}`;
    return invalidArgument(`filter "${shown}": ${problem} at character ${this.#at + 1}`);
  }
}

/** The selectors of one filter, all of which must match; none for the empty filter. INVALID_ARGUMENT. */
export const parseFilter = (text: string): readonly Selector[] => (text === '' ? [] : new Parser(text).selectors());
