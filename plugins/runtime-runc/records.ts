/**
 * What the supervisor writes into bundles, so that another one can go on from
 * there. A record is replaced whole (rename(2)), so it is never half written.
 * It is not synced to disk: bundles do not outlive a boot, and neither do the
 * processes they tell of.
 */
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProcessRecord } from '../../api/gen/runtime/supervisor.js';
import { dataLoss } from '../../kernel/errors.js';
import { isErrno } from '../../lib/errno.js';

const INIT = 'init.record';
const EXEC_PREFIX = 'exec-';
const EXEC_SUFFIX = '.record';

const fileOf = ({ execId }: Pick<ProcessRecord, 'execId'>): string =>
  execId === '' ? INIT : `${EXEC_PREFIX}${execId}${EXEC_SUFFIX}`;

/** Throws as the file system answers. */
export function writeRecord(bundle: string, record: ProcessRecord): void {
  const path = join(bundle, fileOf(record));
  writeFileSync(`${path}.new`, ProcessRecord.encode(record).finish(), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeRecord(bundle: string, record: ProcessRecord): void {
  rmSync(join(bundle, fileOf(record)), { force: true });
}

function read(path: string): ProcessRecord {
  const bytes = readFileSync(path);
  try {
    return ProcessRecord.decode(bytes);
  } catch (cause) {
    throw dataLoss(`"${path}" is no record of a process`, { cause });
  }
}

/** The record of one process; undefined when there is none. DATA_LOSS when it cannot be read. */
export function readRecord(bundle: string, execId: string): ProcessRecord | undefined {
  try {
    return read(join(bundle, fileOf({ execId })));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** The records of all execs. */
export const readExecRecords = (bundle: string): ProcessRecord[] =>
  readdirSync(bundle)
    .filter((name) => name.startsWith(EXEC_PREFIX) && name.endsWith(EXEC_SUFFIX))
    .map((name) => read(join(bundle, name)));
