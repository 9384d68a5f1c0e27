/** The directories `<root>/snapshots/<id>` in which snapshotters keep files. */
import { chmodSync, existsSync, mkdirSync, readdir, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { dataLoss } from '../../kernel/errors.js';
import { removeTree } from '../tree/jobs.js';

/** Not on the event loop: there may be tens of thousands. */
const list = promisify(readdir);

/** A positive integer that is exact as a number. */
const ID = /^[1-9][0-9]{0,14}$/;

export class SnapshotDirectories {
  readonly #top: string;

  /** Makes the directory that holds them all, reachable for nobody else: layers hold set-id programs. */
  constructor(root: string) {
    this.#top = join(root, 'snapshots');
    mkdirSync(this.#top, { recursive: true, mode: 0o700 });
    chmodSync(this.#top, 0o700);
  }

  path(id: number): string {
    return join(this.#top, String(id));
  }

  /** The files of a snapshot. */
  files(id: number): string {
    return join(this.#top, String(id), 'fs');
  }

  has(id: number): boolean {
    return existsSync(this.files(id));
  }

  /** Attributes of a parent's root directory. DATA_LOSS when somebody deleted it. */
  rootOf(id: number): Stats {
    const stats = statSync(this.files(id), { throwIfNoEntry: false });
    if (stats) return stats;
    throw dataLoss(`the files of the parent snapshot are missing: "${this.files(id)}" does not exist`, {
      remedy: 'remove the snapshots on it and pull the image again',
    });
  }

  async ids(): Promise<readonly number[]> {
    return (await list(this.#top)).filter((name) => ID.test(name)).map(Number);
  }

  remove(id: number, apart: boolean): Promise<void> {
    return removeTree(this.path(id), apart);
  }
}
