/** Processes held by descriptor, which never come to mean another: pidfd_open(2), pidfd_send_signal(2). */
import { closeSync } from 'node:fs';
import { check, libc, SystemError } from './libc.js';
import { isReadable, type Watch, watchReadable } from './poll.js';
import { readStat } from './proc.js';
import { fromWaitStatus, type Reaped, reapPidfd } from './process.js';

// Numbers shared by all architectures (since Linux 5.1).
const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;

// PIDFD_GET_INFO (Linux 6.13, exit status since 6.15): _IOWR(0xFF, 11, struct pidfd_info of 64 bytes).
const PIDFD_GET_INFO = 0xc040_ff0b;
const PIDFD_INFO_SIZE = 64;
const PIDFD_INFO_EXIT_CODE = 60;
const PIDFD_INFO_EXIT = 1n << 3n;

const pidfdOpen = libc.func('syscall', 'long', ['long', 'int', 'uint']);
const pidfdSendSignal = libc.func('syscall', 'long', ['long', 'int', 'int', 'void *', 'uint']);
const ioctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);

/** `struct pidfd_info`; undefined when the descriptor is no pidfd, or the kernel keeps nothing of its process. */
function readInfo(fd: number): Buffer | undefined {
  const info = Buffer.alloc(PIDFD_INFO_SIZE);
  info.writeBigUInt64LE(PIDFD_INFO_EXIT);
  return ioctl(fd, PIDFD_GET_INFO, info) < 0 ? undefined : info;
}

/** Whether a descriptor is a pidfd of which the kernel tells something (Linux 6.15). */
export const isPidfd = (fd: number): boolean => readInfo(fd) !== undefined;

/** A process, child of ours or not. Close it, or it keeps a descriptor open. */
export class ProcessHandle {
  readonly pid: number;
  readonly #fd: number;
  #watch: Watch | undefined;
  #open = true;

  /**
   * NOT_FOUND when there is no such process; one that exited but was not reaped
   * counts as one. With `pidfd`, that descriptor is taken over.
   */
  constructor(pid: number, pidfd?: number) {
    this.pid = pid;
    this.#fd = pidfd ?? check(pidfdOpen(SYS_PIDFD_OPEN, pid, 0), 'pidfd_open', String(pid));
  }

  /** The descriptor, for another process to inherit. */
  get fd(): number {
    return this.#fd;
  }

  /** NOT_FOUND (`ESRCH`) once it has been reaped; INVALID_ARGUMENT for a number that is no signal. */
  signal(number: number): void {
    check(pidfdSendSignal(SYS_PIDFD_SEND_SIGNAL, this.#fd, number, null, 0), 'pidfd_send_signal', String(this.pid));
  }

  /** True until it has exited; a zombie is not alive. */
  alive(): boolean {
    return !isReadable(this.#fd);
  }

  /** Calls `listener` once the process has exited; also when it had before. Keeps us alive, unless `background`. */
  onExit(listener: () => void, background = false): void {
    const once = (): void => {
      this.#watch?.close();
      this.#watch = undefined;
      listener();
    };
    this.#watch = watchReadable(this.#fd, once, background);
  }

  /**
   * The exit status: of our child by reaping it, of any other process from the
   * kernel, which keeps it for us since Linux 6.15. Undefined while it runs, and
   * when nobody can tell.
   */
  exitStatus(): Reaped | undefined {
    return reapPidfd(this.#fd) ?? this.#zombieStatus() ?? this.#keptStatus();
  }

  /** Of a process that has exited and that its parent has not reaped yet: proc_pid_stat(5), field `exit_code`. */
  #zombieStatus(): Reaped | undefined {
    const stat = readStat(this.pid);
    if (stat === undefined || stat.state !== 'Z' || !this.#exists()) return undefined;
    return { pid: this.pid, exitStatus: fromWaitStatus(stat.exitCode) };
  }

  /** False once it has been reaped, when its number may be another's. */
  #exists(): boolean {
    try {
      this.signal(0);
      return true;
    } catch (error) {
      if (error instanceof SystemError && error.errno === 'ESRCH') return false;
      throw error;
    }
  }

  #keptStatus(): Reaped | undefined {
    const info = readInfo(this.#fd);
    if (info === undefined || (info.readBigUInt64LE() & PIDFD_INFO_EXIT) === 0n) return undefined;
    return { pid: this.pid, exitStatus: fromWaitStatus(info.readInt32LE(PIDFD_INFO_EXIT_CODE)) };
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch?.close();
    this.#watch = undefined;
    closeSync(this.#fd);
  }
}
