/** Children of the supervisor: those it watches, and strays that became its own. */
import { ProcessHandle } from '../../../lib/linux/pidfd.js';
import { peekZombie, reap } from '../../../lib/linux/process.js';

/** Milliseconds between a child's end and the look for strays. */
const STRAY_DELAY = 100;

/**
 * Reaps nothing that somebody may still ask for: a process is watched from the
 * moment its number is known, and as long as an OCI runtime is at work, whose
 * process may end before its number is known, strays stay zombies, which keeps
 * their numbers from being given to others.
 */
export class Reaper {
  readonly #watched = new Set<number>();
  #making = 0;
  #timer: NodeJS.Timeout | undefined;

  /** A process to be reaped by whoever called this. NOT_FOUND when there is none of that number. */
  watch(pid: number): ProcessHandle {
    const handle = new ProcessHandle(pid);
    this.#watched.add(pid);
    return handle;
  }

  /** The process was reaped, or is nobody's business any more. */
  release(handle: ProcessHandle): void {
    this.#watched.delete(handle.pid);
    handle.close();
  }

  /** Runs work that makes processes whose numbers are known only once it is done. */
  async whileMaking<T>(work: () => Promise<T>): Promise<T> {
    this.#making++;
    try {
      return await work();
    } finally {
      this.#making--;
      this.lookForStrays();
    }
  }

  /** Some child has ended (SIGCHLD). */
  lookForStrays(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#reapStrays();
    }, STRAY_DELAY).unref();
  }

  #reapStrays(): void {
    while (this.#making === 0) {
      const zombie = peekZombie();
      if (zombie === undefined) return;
      if (this.#watched.has(zombie.pid)) {
        // It hides those behind it until its watcher has reaped it.
        this.lookForStrays();
        return;
      }
      reap(zombie.pid);
    }
  }
}
