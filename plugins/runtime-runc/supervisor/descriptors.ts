import { closeSync } from 'node:fs';

/** Descriptors to be closed, each once. */
export class Descriptors {
  readonly #open = new Set<number>();

  add(fd: number): number {
    this.#open.add(fd);
    return fd;
  }

  /** Does what opens further descriptors; should it fail, none is left open. */
  orClose<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.closeAll();
      throw error;
    }
  }

  close(...fds: readonly number[]): void {
    for (const fd of fds) if (this.#open.delete(fd)) closeSync(fd);
  }

  closeAll(): void {
    this.close(...this.#open);
  }
}
