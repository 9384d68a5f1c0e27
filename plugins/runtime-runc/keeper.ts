/**
 * The daemon's side of lib/supervisor/kept.ts: descriptors it holds on behalf of a
 * supervisor. A process holds the FIFOs of its output itself; the write end of
 * its input, and a terminal's FIFOs, are held here.
 */
import { closeSync } from 'node:fs';
import type { ProcessRecord } from '../../api/gen/runtime/supervisor.js';
import { hasCode } from '../../kernel/errors.js';
import { isErrno } from '../../lib/errno.js';
import { duplicateOf } from '../../lib/linux/descriptor.js';
import { holdFifo } from '../../lib/linux/fifo.js';
import type { ProcessHandle } from '../../lib/linux/pidfd.js';
import { readStat } from '../../lib/linux/proc.js';
import type { Inheritance } from '../../lib/supervisor/launch.js';

/** What a record tells of a process. */
export type KeepRequest = Pick<
  ProcessRecord,
  'id' | 'execId' | 'pid' | 'startTime' | 'terminalFd' | 'stdio' | 'inputClosed'
>;

interface Entry {
  readonly id: string;
  readonly execId: string;
  readonly terminal: number | undefined;
  /** The FIFO of its input, whose write end only the supervisor and the client have. */
  readonly input: number | undefined;
  /** The FIFO of a terminal's output, which only the supervisor and the client have. */
  readonly output: number | undefined;
}

const keyOf = (id: string, execId: string): string => `${id}/${execId}`;

export class Keeper {
  readonly #entries = new Map<string, Entry>();

  /** Keeps what there is of a process; one that has ended already is passed over. */
  keep(supervisor: ProcessHandle | undefined, request: KeepRequest): void {
    const { id, execId, pid, startTime, terminalFd } = request;
    if (readStat(pid)?.startTime !== startTime) return;
    this.release(id, execId);
    const terminal = terminalFd === 0 || supervisor === undefined ? undefined : steal(supervisor, terminalFd);
    this.#entries.set(keyOf(id, execId), { id, execId, terminal, ...holdFifos(request) });
  }

  /** The process's input is to end. */
  releaseInput(id: string, execId: string): void {
    const entry = this.#entries.get(keyOf(id, execId));
    if (entry?.input === undefined) return;
    this.#entries.set(keyOf(id, execId), { ...entry, input: undefined });
    closeSync(entry.input);
  }

  release(id: string, execId: string): void {
    const entry = this.#entries.get(keyOf(id, execId));
    this.#entries.delete(keyOf(id, execId));
    for (const fd of [entry?.terminal, entry?.input, entry?.output]) if (fd !== undefined) closeSync(fd);
  }

  releaseAll(): void {
    for (const { id, execId } of [...this.#entries.values()]) this.release(id, execId);
  }

  /** All descriptors, and what they are when a child inherits them from `first` on. */
  inheritance(first: number): Inheritance {
    const files: number[] = [];
    const inherit = (fd: number): number => first + files.push(fd) - 1;
    const terminals = [...this.#entries.values()].flatMap(({ id, execId, terminal }) =>
      terminal === undefined ? [] : [{ fd: inherit(terminal), id, execId }],
    );
    return { files, kept: { terminals } };
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

/** FIFOs whose ends nobody is to see while the supervisor is replaced. */
function holdFifos({ stdio, inputClosed }: KeepRequest): Pick<Entry, 'input' | 'output'> {
  const holdsInput = stdio?.terminal || !inputClosed;
  return {
    input: holdsInput ? hold(stdio?.stdin ?? '') : undefined,
    output: stdio?.terminal ? hold(stdio.stdout) : undefined,
  };
}

function hold(path: string): number | undefined {
  if (!path.startsWith('/')) return undefined;
  try {
    return holdFifo(path);
  } catch (error) {
    // Removed by its client, or a file: nothing would be lost.
    if (isErrno(error, 'ENOENT') || hasCode(error, 'INVALID_ARGUMENT')) return undefined;
    throw error;
  }
}
