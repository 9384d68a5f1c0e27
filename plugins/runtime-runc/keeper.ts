/** The daemon's side of kept.ts: descriptors it holds on behalf of a supervisor. */
import { closeSync } from 'node:fs';
import { isErrno } from '../../lib/errno.js';
import { duplicateOf } from '../../lib/linux/descriptor.js';
import { ProcessHandle } from '../../lib/linux/pidfd.js';
import { readStat } from '../../lib/linux/proc.js';
import type { Kept } from './kept.js';

export interface KeepRequest {
  readonly id: string;
  readonly execId: string;
  readonly pid: number;
  readonly startTime: string;
  /** The supervisor's descriptor of the terminal; 0 without one. */
  readonly terminalFd: number;
}

interface Entry {
  readonly id: string;
  readonly execId: string;
  readonly handle: ProcessHandle;
  readonly terminal: number | undefined;
}

const keyOf = (id: string, execId: string): string => `${id}/${execId}`;

function openHandle(pid: number, startTime: string): ProcessHandle | undefined {
  try {
    const handle = new ProcessHandle(pid);
    if (readStat(pid)?.startTime === startTime) return handle;
    handle.close();
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
  return undefined;
}

export class Keeper {
  readonly #entries = new Map<string, Entry>();

  /** Keeps what there is of a process; one that has ended already is passed over. */
  keep(supervisor: ProcessHandle | undefined, { id, execId, pid, startTime, terminalFd }: KeepRequest): void {
    const handle = openHandle(pid, startTime);
    if (handle === undefined) return;
    this.release(id, execId);
    const terminal = terminalFd === 0 || supervisor === undefined ? undefined : steal(supervisor, terminalFd);
    this.#entries.set(keyOf(id, execId), { id, execId, handle, terminal });
  }

  release(id: string, execId: string): void {
    const entry = this.#entries.get(keyOf(id, execId));
    this.#entries.delete(keyOf(id, execId));
    entry?.handle.close();
    if (entry?.terminal !== undefined) closeSync(entry.terminal);
  }

  releaseAll(): void {
    for (const { id, execId } of [...this.#entries.values()]) this.release(id, execId);
  }

  /** All descriptors, and what they are when a child inherits them from `first` on. */
  inheritance(first: number): { readonly files: readonly number[]; readonly kept: Kept } {
    const files: number[] = [];
    const inherit = (fd: number): number => first + files.push(fd) - 1;
    const entries = [...this.#entries.values()];
    const pidfds = entries.map(({ handle }) => ({ fd: inherit(handle.fd), pid: handle.pid }));
    const terminals = entries.flatMap(({ id, execId, terminal }) =>
      terminal === undefined ? [] : [{ fd: inherit(terminal), id, execId }],
    );
    return { files, kept: { pidfds, terminals } };
  }
}

/** undefined when the supervisor has closed it meanwhile, or the kernel has no pidfd_getfd(2). */
function steal(supervisor: ProcessHandle, fd: number): number | undefined {
  try {
    return duplicateOf(supervisor.fd, fd);
  } catch (error) {
    if (isErrno(error, 'EBADF', 'ESRCH', 'ENOSYS', 'EPERM')) return undefined;
    throw error;
  }
}
