/** Filters select objects by their fields; `parse.ts` has the grammar. */
import { createRequire } from 'node:module';
import type { RE2JS } from 're2js';
import { invalidArgument } from '../../kernel/errors.js';
import { labelOf } from '../labels.js';
import { parseFilter, type Selector } from './parse.js';

/** Looks a field of one object up by its path; undefined when it has none. */
export type Fields = (path: readonly string[]) => string | undefined;

export type Filter = (fields: Fields) => boolean;

/** Characters in all filters of one call. */
const MAX_FILTERS = 64 * 1024;

/** Characters in all regular expressions of one call; bounds the time to compile them (about 50 ms at worst). */
const MAX_PATTERNS = 1024;

/** Instructions of a compiled expression; bounds the time per value (about 100 ms for 4096 hostile bytes). */
const MAX_PROGRAM = 500;

const length = (texts: readonly string[]): number => texts.reduce((sum, text) => sum + text.length, 0);

const require = createRequire(import.meta.url);
/** Loaded by the first filter that needs it: its tables would make up a tenth of the daemon's start. */
const re2 = (): typeof import('re2js') => require('re2js');

/**
 * Matching takes time linear in the value: filters come from clients.
 * INVALID_ARGUMENT for what RE2 refuses.
 */
function compileRegexp(pattern: string): RE2JS {
  const { RE2JS, RE2JSException } = re2();
  try {
    const compiled = RE2JS.compile(pattern);
    if (compiled.programSize() <= MAX_PROGRAM) return compiled;
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw invalidArgument(`filter: regular expression "${pattern}": ${error.message}`, { cause: error });
  }
  throw invalidArgument(`filter: regular expression "${pattern}" is too large when compiled`);
}

function compileSelector({ path, operator, value }: Selector): Filter {
  switch (operator) {
    case 'present':
      return (fields) => fields(path) !== undefined;
    case '==':
      return (fields) => fields(path) === value;
    case '!=':
      return (fields) => (fields(path) ?? '') !== value;
    case '~=': {
      const regexp = compileRegexp(value);
      return (fields) => regexp.test(fields(path) ?? '');
    }
  }
}

function parseFilters(filters: readonly string[]): readonly (readonly Selector[])[] {
  if (length(filters) > MAX_FILTERS) throw invalidArgument(`filters of more than ${MAX_FILTERS} characters in all`);
  const parsed = filters.map(parseFilter);
  const patterns = parsed.flat().filter(({ operator }) => operator === '~=');
  if (length(patterns.map(({ value }) => value)) > MAX_PATTERNS) {
    throw invalidArgument(`filters with regular expressions of more than ${MAX_PATTERNS} characters in all`);
  }
  return parsed;
}

/**
 * A predicate that holds when any of the filters matches; no filters match
 * everything. INVALID_ARGUMENT for a filter or regular expression that is
 * malformed or too large.
 */
export function compileFilters(filters: readonly string[] = []): Filter {
  if (filters.length === 0) return () => true;
  const compiled = parseFilters(filters).map((selectors) => selectors.map(compileSelector));
  return (fields) => compiled.some((selectors) => selectors.every((matches) => matches(fields)));
}

/** The field of a map such as labels: the rest of the path is its key, dots included. */
export const mapField = (map: Readonly<Record<string, string>>, path: readonly string[]): string | undefined =>
  labelOf(map, path.join('.'));

/** A field that counts as absent while it is empty. */
export const nonEmpty = (value: string): string | undefined => (value === '' ? undefined : value);
