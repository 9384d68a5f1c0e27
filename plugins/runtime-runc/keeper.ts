/**
 * The daemon's side of lib/supervisor/kept.ts: descriptors it holds on behalf of a
 * supervisor. A process whose streams are FIFOs holds those itself; a
 * terminal's are held here.
 */
import { closeSync } from 'node:fs';
import type { ProcessRecord } from '../../api/gen/runtime/supervisor.js';
import { hasCode } from '../../kernel/errors.js';
import { isErrno } from '../../lib/errno.js';
import { duplicateOf } from '../../lib/linux/descriptor.js';
import { holdFifo } from '../../lib/linux/fifo.js';
import { ProcessHandle } from '../../lib/linux/pidfd.js';
import { readStat } from '../../lib/linux/proc.js';
import type { Inheritance } from '../../lib/supervisor/launch.js';

/** What a record tells of a process. */
export type KeepRequest = Pick<ProcessRecord, 'id' | 'execId' | 'pid' | 'startTime' | 'terminalFd' | 'stdio'>;

interface Entry {
  readonly id: string;
  readonly execId: string;
  readonly handle: ProcessHandle;
  readonly terminal: number | undefined;
  /** FIFOs that only the supervisor and the client have open. */
  readonly fifos: readonly number[];
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
  keep(supervisor: ProcessHandle | undefined, request: KeepRequest): void {
    const { id, execId, pid, startTime, terminalFd, stdio } = request;
    const handle = openHandle(pid, startTime);
    if (handle === undefined) return;
    this.release(id, execId);
    const terminal = terminalFd === 0 || supervisor === undefined ? undefined : steal(supervisor, terminalFd);
    const fifos = stdio?.terminal ? [stdio.stdin, stdio.stdout].flatMap(hold) : [];
    this.#entries.set(keyOf(id, execId), { id, execId, handle, terminal, fifos });
  }

  release(id: string, execId: string): void {
    const entry = this.#entries.get(keyOf(id, execId));
    this.#entries.delete(keyOf(id, execId));
    entry?.handle.close();
    if (entry?.terminal !== undefined) closeSync(entry.terminal);
    for (const fd of entry?.fifos ?? []) closeSync(fd);
  }

  releaseAll(): void {
    for (const { id, execId } of [...this.#entries.values()]) this.release(id, execId);
  }

  /** All descriptors, and what they are when a child inherits them from `first` on. */
  inheritance(first: number): Inheritance {
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

/** A FIFO between client and supervisor, so that neither sees its end while the supervisor is replaced. */
function hold(path: string): number[] {
  if (!path.startsWith('/')) return [];
  try {
    return [holdFifo(path)];
  } catch (error) {
    // Removed by its client, or a file: nothing would be lost.
    if (isErrno(error, 'ENOENT') || hasCode(error, 'INVALID_ARGUMENT')) return [];
    throw error;
  }
}
