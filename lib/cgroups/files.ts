/** The files of a control group: small texts that vanish with it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../errno.js';
import { readKernelFile } from '../linux/kernel-file.js';

/** The text; undefined when the file, its controller or the group is not there. */
export function readText(directory: string | undefined, file: string): string | undefined {
  if (directory === undefined) return undefined;
  try {
    return readKernelFile(join(directory, file)).trim();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTSUP')) return undefined;
    throw error;
  }
}

const UINT64_MAX = 2n ** 64n - 1n;

/** A count; `max` is the largest there is, and so is a negative number, which hierarchy version 1 uses for it. */
export function parseCount(text: string): bigint {
  if (text === 'max') return UINT64_MAX;
  if (!/^-?\d+$/.test(text)) return 0n;
  const value = BigInt(text);
  return value < 0n ? UINT64_MAX : value;
}

/** The number in a file; undefined when there is no file. */
export function readCount(directory: string | undefined, file: string): bigint | undefined {
  const text = readText(directory, file);
  return text === undefined ? undefined : parseCount(text);
}

/** A file of lines `key value`; undefined when there is no file. */
export function readTable(directory: string | undefined, file: string): ReadonlyMap<string, bigint> | undefined {
  const text = readText(directory, file);
  if (text === undefined) return undefined;
  const rows = text.split('\n').map((line) => line.split(/\s+/));
  return new Map(rows.map(([key = '', value = '0']) => [key, parseCount(value)]));
}

/** Words of each line. */
export const readRows = (directory: string | undefined, file: string): string[][] =>
  (readText(directory, file) ?? '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(/\s+/));

/** Names in a group's directory; none when it is gone. */
export function listNames(directory: string | undefined): string[] {
  if (directory === undefined) return [];
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Groups below, not recursive; none when the group is gone. */
export function listGroups(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(directory, entry.name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
