/** Brings the files of committed snapshots to disk while nobody waits, and records that they are there. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AT_FDCWD, close, O_DIRECTORY, O_RDONLY, openat, syncfsInBackground } from '../linux/file.js';

/** Milliseconds without another commit before the disk is kept busy. */
const QUIET = 500;
/** Milliseconds that commits one after another may put it off. */
const LONGEST = 5000;

export interface SyncParts {
  /** Resolves when all that was written before is on disk. */
  flush(): Promise<void>;
  /** Ids of what is not known to be there. */
  pending(): readonly number[];
  done(ids: readonly number[]): Promise<void>;
  /** Told when the disk fails; the next commit tries again. */
  warn(message: string, error: unknown): void;
}

/** Flushes the filesystem that holds `directory`. */
export async function flushFilesystem(directory: string): Promise<void> {
  const fd = openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY);
  try {
    await syncfsInBackground(fd, directory);
  } finally {
    close(fd);
  }
}

export class BackgroundSync {
  readonly #parts: SyncParts;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #woken = 0;

  constructor(parts: SyncParts) {
    this.#parts = parts;
  }

  /** Something may be pending. */
  wake(): void {
    this.#woken += 1;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  flush(): Promise<void> {
    return this.#parts.flush();
  }

  /** Stops; what is pending is left to the next start. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      for (let ids = await this.#settledIds(); ids.length > 0; ids = await this.#settledIds()) {
        await this.#parts.flush();
        await this.#parts.done(ids);
      }
    } catch (error) {
      this.#parts.warn(
        'files of snapshots could not be flushed to disk, and will be made again after a power cut',
        error,
      );
    }
  }

  /** What is pending once commits have ceased for a moment; nothing when there is nothing, or no time left. */
  async #settledIds(): Promise<readonly number[]> {
    const start = performance.now();
    for (let seen = -1; seen !== this.#woken && performance.now() - start < LONGEST; ) {
      if (this.#parts.pending().length === 0) return [];
      seen = this.#woken;
      await sleep(QUIET, undefined, { ref: false, signal: this.#closing.signal }).catch(() => undefined);
      if (this.#closing.signal.aborted) return [];
    }
    return this.#parts.pending();
  }
}
