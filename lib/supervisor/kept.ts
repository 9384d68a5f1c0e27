/**
 * Descriptors that the daemon keeps for a supervisor, in case that dies: the
 * master of each terminal, which would hang up. A new supervisor inherits
 * them, and reads from a file which is which: lines `terminal FD ID [EXEC-ID]`.
 */
import { readFileSync, rmSync } from 'node:fs';
import { dataLoss } from '../../kernel/errors.js';

export interface KeptTerminal {
  readonly fd: number;
  readonly id: string;
  /** Empty: the init process. */
  readonly execId: string;
}

export interface Kept {
  readonly terminals: readonly KeptTerminal[];
}

export const NOTHING_KEPT: Kept = { terminals: [] };

export const formatKept = ({ terminals }: Kept): string =>
  terminals.map(({ fd, id, execId }) => `${`terminal ${fd} ${id} ${execId}`.trim()}\n`).join('');

/** Reads and removes the file. DATA_LOSS when it is none. */
export function takeKept(path: string): Kept {
  const terminals: KeptTerminal[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const [kind, fd, name = '', execId = ''] = line.split(' ');
    if (kind === 'terminal') terminals.push({ fd: Number(fd), id: name, execId });
    else if (line !== '') throw dataLoss(`"${path}" has a line "${line}"`);
  }
  rmSync(path);
  return { terminals };
}
