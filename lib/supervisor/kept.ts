/**
 * Descriptors that the daemon keeps for a supervisor, in case that dies: a
 * pidfd of each process, through which the kernel tells its exit status, and
 * the master of each terminal, which would hang up. A new supervisor inherits
 * them, and reads from a file which is which: lines `pidfd FD PID` and
 * `terminal FD ID [EXEC-ID]`.
 */
import { readFileSync, rmSync } from 'node:fs';
import { dataLoss } from '../../kernel/errors.js';

export interface KeptPidfd {
  readonly fd: number;
  readonly pid: number;
}

export interface KeptTerminal {
  readonly fd: number;
  readonly id: string;
  /** Empty: the init process. */
  readonly execId: string;
}

export interface Kept {
  readonly pidfds: readonly KeptPidfd[];
  readonly terminals: readonly KeptTerminal[];
}

export const NOTHING_KEPT: Kept = { pidfds: [], terminals: [] };

export function formatKept({ pidfds, terminals }: Kept): string {
  const lines = [
    ...pidfds.map(({ fd, pid }) => `pidfd ${fd} ${pid}`),
    ...terminals.map(({ fd, id, execId }) => `terminal ${fd} ${id} ${execId}`.trim()),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

/** Reads and removes the file. DATA_LOSS when it is none. */
export function takeKept(path: string): Kept {
  const pidfds: KeptPidfd[] = [];
  const terminals: KeptTerminal[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const [kind, fd, name = '', execId = ''] = line.split(' ');
    if (kind === 'pidfd') pidfds.push({ fd: Number(fd), pid: Number(name) });
    else if (kind === 'terminal') terminals.push({ fd: Number(fd), id: name, execId });
    else if (line !== '') throw dataLoss(`"${path}" has a line "${line}"`);
  }
  rmSync(path);
  return { pidfds, terminals };
}
