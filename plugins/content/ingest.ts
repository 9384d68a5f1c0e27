/**
 * An ingest on disk: a directory with `ref` (its name, written first), `data`
 * (the bytes so far) and, when known, `total` and `expected`. One without
 * `ref` or `data`, or whose `ref` is another's, was cut short while being made.
 */
import { mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IngestStatus } from '../../kernel/contracts/content.js';
import { isErrno } from '../../lib/errno.js';

export interface IngestPlan {
  readonly ref: string;
  /** Bytes; 0 when unknown. */
  readonly total: number;
  /** Digest; empty when unknown. */
  readonly expected: string;
}

export const dataFile = (directory: string): string => join(directory, 'data');

/** The result, or undefined when the file is not there. */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

export async function writeTotal(directory: string, total: number): Promise<void> {
  await writeFile(join(directory, 'total'), String(total));
}

/** Makes an empty ingest, in place of any that was there. */
export async function createIngest(directory: string, { ref, total, expected }: IngestPlan): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o700 });
  await writeFile(join(directory, 'ref'), ref);
  if (total > 0) await writeTotal(directory, total);
  if (expected !== '') await writeFile(join(directory, 'expected'), expected);
  await (await open(dataFile(directory), 'wx', 0o600)).close();
}

const toSize = (text: string | undefined): number => {
  const size = Number(text ?? '0');
  return Number.isSafeInteger(size) && size > 0 ? size : 0;
};

/** The state of an ingest, or undefined when there is none or only a part of one. */
export async function readIngest(directory: string): Promise<IngestStatus | undefined> {
  const read = (name: string): Promise<string | undefined> => unlessMissing(readFile(join(directory, name), 'utf8'));
  const [ref, total, expected] = await Promise.all([read('ref'), read('total'), read('expected')]);
  const [started, data] = await Promise.all([
    unlessMissing(stat(join(directory, 'ref'), { bigint: true })),
    unlessMissing(stat(dataFile(directory), { bigint: true })),
  ]);
  if (ref === undefined || started === undefined || data === undefined) return undefined;
  return {
    ref,
    offset: Number(data.size),
    total: toSize(total),
    expected: expected ?? '',
    startedAt: started.mtimeNs,
    updatedAt: data.mtimeNs,
  };
}
