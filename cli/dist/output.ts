/** Results for people or for programs. */
import { Option } from 'commander';
import { table } from '../table.js';

export type Format = 'table' | 'json';

export interface FormatOptions {
  readonly format: Format;
}

/** `--format table|json`. */
export const formatOption = (): Option =>
  new Option('--format <format>', 'how to print the result').choices(['table', 'json']).default('table');

/** JSON has no integers beyond 2^53 - 1 that every reader takes exactly: those become strings. */
const plain = (_key: string, value: unknown): unknown => {
  if (typeof value !== 'bigint') return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
};

export const json = (value: unknown): string => `${JSON.stringify(value, plain, 2)}\n`;

/** Prints rows as a table, or the objects they were made of as JSON. */
export function printList<T>(
  { format }: FormatOptions,
  head: readonly string[],
  items: readonly T[],
  row: (item: T) => readonly string[],
): void {
  process.stdout.write(format === 'json' ? json(items) : table(head, items.map(row)));
}

/** `key=value` arguments as labels; an empty value deletes. */
export function parseLabels(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf('=');
      return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
}

/** For options that may be given more than once. */
export const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
